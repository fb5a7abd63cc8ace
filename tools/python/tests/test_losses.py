"""Losses against the reference vectors of the Swift kernels, in double and single precision."""

import dataclasses
import math

import pytest

torch = pytest.importorskip("torch")

import vectors  # noqa: E402

from logitcache import LogitCacheError  # noqa: E402
from logitcache.torch import dist, kd, mse, pld  # noqa: E402

# Tails that are known to be bad are not offered.
OFFERED = {"uniform", "bucket", "drop", "tail_mean"}


def evaluate(case, student, teacher):
    params, loss = case["params"], case["loss"]
    temperature = params.get("temperature", params.get("tau", 1.0))
    tail = params.get("tail")
    if loss == "kd_limit":
        return kd(student, teacher, math.inf)
    if loss in ("kd", "trunc_kd"):
        return kd(student, teacher, temperature, tail or "uniform")
    if loss in ("mse", "trunc_mse"):
        return mse(student, teacher, {"tail_mean": "mean", None: "exact"}.get(tail, tail))
    if loss in ("pld", "trunc_pld"):
        return pld(student, teacher, temperature, tail or "drop")
    return dist(
        student,
        teacher,
        temperature,
        params["beta"],
        params["gamma"],
        params["eps"],
        params.get("tau_squared", True),
    )


@pytest.mark.parametrize("precision", ["f64", "f32"])
@pytest.mark.parametrize(
    "loss",
    ["kd", "kd_limit", "mse", "pld", "dist", "trunc_kd", "trunc_mse", "trunc_pld", "trunc_dist"],
)
def test_losses_and_gradients_are_the_expected_ones(loss, precision):
    dtype = torch.float64 if precision == "f64" else torch.float32
    checked = 0
    for case in vectors.cases(loss):
        if case["params"].get("tail", "drop") not in OFFERED:
            continue
        teacher = vectors.teacher(case).map(lambda t: t.to(dtype) if t.is_floating_point() else t)
        student = vectors.logits(case, "student").to(dtype).requires_grad_()
        value = evaluate(case, student, teacher)
        value.backward()
        wrong = vectors.mismatch(case, value.detach(), student.grad, precision)
        assert wrong is None, f"{case['name']}: {wrong}"
        checked += 1
    assert checked


def test_a_wrong_loss_is_caught():
    for case in vectors.cases("pld"):
        if case["params"]["temperature"] != 4 or "eqt" in case["name"]:
            continue
        student = vectors.logits(case, "student").requires_grad_()
        value = pld(student, vectors.teacher(case), 1)
        value.backward()
        assert vectors.mismatch(case, value.detach(), student.grad, "f64"), case["name"]


@pytest.mark.parametrize("seed", range(4))
def test_gradients_scale_with_what_follows_the_loss(seed):
    case = vectors.cases("trunc_pld")[seed]
    teacher = vectors.teacher(case)
    student = vectors.logits(case, "student").requires_grad_()
    (once,) = torch.autograd.grad(pld(student, teacher), student)
    (thrice,) = torch.autograd.grad(3 * pld(student, teacher), student)
    assert torch.allclose(thrice, 3 * once, rtol=1e-14)


def test_what_a_record_does_not_hold_is_refused():
    case = next(
        c for c in vectors.cases("trunc_kd") if c["params"]["k"] < c["params"]["num_classes"]
    )
    teacher = vectors.teacher(case)
    student = vectors.logits(case, "student")
    with pytest.raises(LogitCacheError, match="keeps tail masses at the temperatures 4, not at 3"):
        kd(student, teacher, 3)
    with pytest.raises(LogitCacheError, match="MSE needs every logit"):
        mse(student, teacher)
    with pytest.raises(LogitCacheError, match="is not known"):
        mse(student, teacher, "mean")
    with pytest.raises(LogitCacheError, match="do not fit"):
        kd(student[:, 1:], teacher, 4)
    with pytest.raises(LogitCacheError, match="no tail 'all'"):
        kd(student, teacher, 4, "all")


def test_a_batch_moves_and_joins():
    batch = vectors.teacher(vectors.cases("kd")[0])
    joined = type(batch).concatenate([batch, batch.to(torch.device("cpu"))])
    assert len(joined) == 2 * len(batch)
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(joined, field.name)[: len(batch)], value)


def falling(order, others, weights, k):
    """Weights of the classes behind the head, by class, the plain way."""
    left = float(weights[others].sum())
    mean, last = left / max(len(others), 1), float(weights[order[k - 1]])
    low, high = 0.0, 64.0 * (k + 1)
    for _ in range(100):
        c = (low + high) / 2
        start, end = (k + 0.5) / k, (len(order) + 0.5) / k
        power = 1 - c
        area = k * (end**power - start**power) / power if power else k * math.log(end / start)
        low, high = (c, high) if area > mean / last * (len(order) - k) else (low, c)
    c = c if mean < last else 0.0
    parts = {i: ((order.index(i) + 1) / k) ** -c for i in others}
    return {i: part * left / sum(parts.values()) for i, part in parts.items()}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_pld_over_a_stored_order_is_what_it_says(seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    classes, rows = 12, 5
    k = (1, 3, 11)[seed % 3]
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * 3
    order = logits.argsort(dim=1, descending=True, stable=True)
    labels = torch.randint(0, classes, (rows,), generator=generator)
    gaps = logits.max(1, keepdim=True).values - logits.gather(1, order)
    scaled = -gaps / temperature
    teacher = vectors.TeacherBatch(
        classes=classes,
        tail_temperatures=(temperature,),
        class_ids=order[:, :k],
        gaps=gaps[:, :k],
        largest_logits=logits.max(1).values,
        labels=labels,
        label_gaps=logits.max(1).values - logits.gather(1, labels[:, None])[:, 0],
        label_ranks=(order == labels[:, None]).long().argmax(1),
        log_tail_ratios=(scaled[:, k:].logsumexp(1) - scaled[:, :k].logsumexp(1))[:, None],
        ranking=order,
    )
    student = torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    student.requires_grad_()
    expected = student.new_zeros(())
    for b in range(rows):
        weights = (logits[b] / temperature).softmax(0)
        head = {int(labels[b]), *order[b, :k].tolist()}
        others = [c for c in range(classes) if c not in head]
        behind = falling(order[b].tolist(), others, weights, k)
        line = [int(labels[b])] + [c for c in order[b].tolist() if c != labels[b]]
        for place, c in enumerate(line):
            weight = weights[c] if c in head else behind[c]
            step = student[b, line[place:]].logsumexp(0) - student[b, c]
            expected = expected + weight * step / rows
    (wanted,) = torch.autograd.grad(expected, student)
    for tail in ("drop", "uniform"):
        value = pld(student, teacher, temperature, tail)
        (slope,) = torch.autograd.grad(value, student)
        assert torch.allclose(value, expected, rtol=1e-12, atol=1e-12)
        assert torch.allclose(slope, wanted, rtol=1e-10, atol=1e-12)
