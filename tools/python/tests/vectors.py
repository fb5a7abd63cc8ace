"""Reference vectors of the losses, as tensors (Tests/LossesTests/Vectors/README.md)."""

import json
import math
import pathlib

import torch

from logitcache.torch import TeacherBatch

FOLDER = pathlib.Path(__file__).parents[3] / "Tests/LossesTests/Vectors"
MASK = 2**64 - 1


def cases(*losses: str) -> list[dict]:
    """All cases of the named losses."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        found += [case for case in json.loads(path.read_text())["cases"] if case["loss"] in losses]
    assert found
    return found


def _uniform(seed: int, lo: float, hi: float, shape: list[int]) -> torch.Tensor:
    values = []
    for i in range(math.prod(shape)):
        z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        values.append(lo + (hi - lo) * ((z ^ z >> 31) >> 11) * 2.0**-53)
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def logits(case: dict, which: str) -> torch.Tensor:
    """Logits of the "student" or the "teacher", float64 [B, C]."""
    inputs = case["inputs"]
    if "generator" not in inputs:
        return torch.tensor(inputs[f"{which}_logits"], dtype=torch.float64)
    stream = inputs["generator"][f"{which}_logits"]
    return _uniform(stream["seed"], stream["lo"], stream["hi"], inputs["generator"]["shape"])


def teacher(case: dict) -> TeacherBatch:
    """The case's records: all classes, or what a truncated case keeps."""
    return _truncated(case) if "topk_index" in case["inputs"] else _full(case)


def _labels(case: dict, ids: torch.Tensor) -> torch.Tensor:
    given = case["inputs"].get("labels")
    return ids[:, 0].clone() if given is None else torch.tensor(given)


def _full(case: dict) -> TeacherBatch:
    rows = logits(case, "teacher")
    ids = rows.argsort(dim=1, descending=True, stable=True)
    labels = _labels(case, ids)
    return _batch(
        rows.shape[1],
        ids,
        rows.gather(1, ids),
        labels,
        rows.gather(1, labels[:, None])[:, 0],
        (),
        torch.zeros(len(rows), 0),
    )


def _truncated(case: dict) -> TeacherBatch:
    inputs, params = case["inputs"], case["params"]
    temperature = params.get("temperature", params.get("tau", 1.0))
    ids = torch.tensor(inputs["topk_index"])
    head = torch.tensor(inputs["topk_logit"], dtype=torch.float64)
    labels = _labels(case, ids)
    own = torch.tensor(inputs.get("label_logit", head[:, 0].tolist()), dtype=torch.float64)
    has_tail = ids.shape[1] < params["num_classes"]
    temperatures, ratios = (), torch.zeros(len(ids), 0)
    if has_tail:
        tails = torch.tensor(
            inputs.get("tail_lse_at_temperature", [0.0] * len(ids)), dtype=torch.float64
        )
        ratios = (tails - (head / temperature).logsumexp(1))[:, None]
        temperatures = (temperature,)
    batch = _batch(params["num_classes"], ids, head, labels, own, temperatures, ratios)
    means = inputs.get("tail_mean")
    if means is None or not has_tail:
        return batch
    return TeacherBatch(
        **vars(batch) | {"mean_tail_logits": torch.tensor(means, dtype=torch.float64)}
    )


def _batch(classes, ids, head, labels, own, temperatures, ratios) -> TeacherBatch:
    ranks = torch.where(ids == labels[:, None], torch.arange(ids.shape[1]), classes).amin(1)
    return TeacherBatch(
        classes=classes,
        tail_temperatures=temperatures,
        class_ids=ids,
        gaps=head[:, :1] - head,
        largest_logits=head[:, 0],
        labels=labels,
        label_gaps=head[:, 0] - own,
        label_ranks=ranks,
        log_tail_ratios=ratios,
    )


def mismatch(case: dict, loss: torch.Tensor, gradient: torch.Tensor, precision: str) -> str | None:
    """The first way in which a result is wrong, None when it is right."""
    tolerance, expected = case["tol"][precision], case["expected"]
    flat = gradient.double().flatten()
    if not (loss.isfinite() and flat.isfinite().all()):
        return "not finite"
    if "skip" in tolerance:
        return None

    def far(what, value, right, allowed):
        wrong = abs(value - right) > allowed
        return f"{what} is {value}, should be {right} within {allowed}" if wrong else None

    allowed = tolerance["grad_abs"]
    checks = [far("loss", loss.item(), expected["loss"], tolerance["loss_abs"])]
    if "grad" in expected:
        right = torch.tensor(expected["grad"], dtype=torch.float64).flatten()
        checks.append(far("the gradient's error", (flat - right).abs().max().item(), 0, allowed))
    else:
        probe = expected["grad_probe"]
        weights = ((torch.arange(len(flat)) * 7919) % 101 - 50).double() / 50
        checks += [
            far("l2 norm", flat.norm().item(), probe["l2"], 10 * allowed),
            far("weighted sum", (flat @ weights).item(), probe["weighted_sum"], 10 * allowed),
        ]
        checks += [far(f"gradient {i}", flat[i].item(), v, allowed) for i, v in probe["entries"]]
    return next((check for check in checks if check), None)
