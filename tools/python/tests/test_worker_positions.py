"""Workers with rows at several positions of a view (docs/WORKER.md)."""

import struct

import numpy as np
import pytest
from worker_process import Worker, views

from logitcache.errors import LogitCacheError
from logitcache.worker.frames import Type, read_frame
from logitcache.worker.positions import Positions

TEACHERS = """
import numpy as np


def columns(names=3):
    def rows(views):
        # A row for each column of a picture [n, 3, 4, 1]: its pixels are the classes.
        return views[..., 0].transpose(0, 2, 1)

    rows.class_names = ["blank", "one", "two"][:names]
    return rows, {"name": "columns"}


def flat():
    return (lambda views: views[..., 0].reshape(len(views), -1)), {"name": "flat"}


def single():
    return (lambda views: views[:, :, :1, 0].transpose(0, 2, 1)), {"name": "single"}


def lengths(too_many=0):
    def rows(views):
        return views[..., 0].transpose(0, 2, 1), views[:, 0, 0, 0] % 5 + too_many

    return rows, {"name": "lengths"}


def fickle():
    def rows(views):
        given = views[..., 0].transpose(0, 2, 1)
        return (given, given[:, :, 0] > 0) if views.any() else given

    return rows, {"name": "fickle"}


def growing():
    return (lambda views: views[..., 0].transpose(0, 2, 1)[:, : 4 - views.any()]), {"name": "g"}


def tokens():
    return (lambda views: views * 2), {"name": "tokens"}


def tagger(masked=True):
    import torch

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 5)

        def forward(self, columns):
            columns = columns[..., 0].transpose(1, 2)
            rows = self.layer(columns.float() / 255)
            return (rows, columns[:, :, 0] > 127) if masked else rows

    torch.manual_seed(1)
    return Tagger()
"""


def start(folder, name: str, *arguments: str, mode="--function", shape=(3, 4, 1), **settings):
    return Worker(folder, TEACHERS, mode, f"teachers:{name}", *arguments, shape=shape, **settings)


def answer(worker: Worker, request: int, count: int):
    """Rows [n, M, C], or with ragged answers a list of positions and rows [R, C] for each view."""
    frame = read_frame(worker.process.stdout)
    assert frame.type == Type.LOGITS, frame.payload.decode()
    assert frame.request == request
    n, positions, classes, width = struct.unpack_from("<IIII", frame.payload)
    welcome = worker.welcome
    assert (n, positions, classes, width) == (count, welcome["positions"], welcome["classes"], 0)
    if not welcome["ragged"]:
        return np.frombuffer(frame.payload, "<f4", offset=16).reshape(n, positions, classes)
    counts = np.frombuffer(frame.payload, "<u4", n, 16)
    places = np.frombuffer(frame.payload, "<u4", counts.sum(), 16 + 4 * n)
    rows = np.frombuffer(frame.payload, "<f4", offset=16 + 4 * (n + counts.sum()))
    rows = rows.reshape(-1, classes)
    ends = counts.cumsum()[:-1]
    return list(zip(np.split(places, ends), np.split(rows, ends)))


def ask(worker: Worker, seed: int, count: int):
    """Rows of random pictures as the teachers cut them [n, 4, 3], and the answer."""
    batch = views(seed, count, worker.shape)
    worker.ask(seed, batch)
    return batch[..., 0].transpose(0, 2, 1), answer(worker, seed, count)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_every_position_of_a_view_has_a_row(tmp_path, count):
    with start(tmp_path, "columns", "--positions", "every") as worker:
        assert (worker.welcome["positions"], worker.welcome["ragged"]) == (4, False)
        assert worker.welcome["classNames"] == ["blank", "one", "two"]
        assert worker.welcome["identity"]["positions"] == "every"
        expected, rows = ask(worker, 3, count)
    assert np.array_equal(rows, expected)


def test_a_blank_that_is_named_is_left_out_of_the_classes(tmp_path):
    with start(tmp_path, "columns", "--positions", "every", "--blank", "1") as worker:
        assert (worker.welcome["classes"], worker.welcome["ragged"]) == (2, False)
        assert worker.welcome["classNames"] == ["blank", "two"]
        assert worker.welcome["identity"]["positions"] == "every, blank 1"
        expected, rows = ask(worker, 4, 8)
    assert np.array_equal(rows, expected[:, :, [0, 2]])


@pytest.mark.parametrize("keeps", [False, True])
def test_positions_where_blank_is_likeliest_have_no_row(tmp_path, keeps):
    options = ["--positions", "nonblank", "--blank", "0"] + ["--keep-blank"] * keeps
    with start(tmp_path, "columns", *options) as worker:
        assert (worker.welcome["positions"], worker.welcome["ragged"]) == (4, True)
        assert worker.welcome["classNames"] == ["blank", "one", "two"][0 if keeps else 1 :]
        assert worker.welcome["identity"]["positions"] == "nonblank, blank 0" + " kept" * keeps
        expected, given = ask(worker, 5, 8)
    kept = 0
    for view, (places, rows) in zip(expected, given):
        counting = [p for p in range(4) if max(view[p, 1:]) > view[p, 0]]
        assert places.tolist() == counting
        assert np.array_equal(rows, view[counting, 0 if keeps else 1 :])
        kept += len(counting)
    assert 4 < kept < 28


def surest(view, output):
    """The position of a view [T, C] that best-nonblank with blank 0 takes."""

    def probability(row):
        return max(row[1:]) - np.log(np.exp(row).sum()) if output == "logits" else max(row[1:])

    return max(range(len(view)), key=lambda place: probability(view[place].astype(float)))


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_of_several_positions_the_surest_without_blank_is_recorded(tmp_path, output):
    options = ["--positions", "best-nonblank", "--blank", "0", "--output", output]
    with start(tmp_path, "columns", *options) as worker:
        assert (worker.welcome["positions"], worker.welcome["ragged"]) == (1, False)
        assert worker.welcome["classNames"] == ["one", "two"]
        assert worker.welcome["identity"]["positions"] == "best-nonblank, blank 0"
        for seed in range(6):
            expected, rows = ask(worker, seed, 8)
            for view, row in zip(expected, rows[:, 0]):
                assert np.array_equal(row, view[surest(view, output), 1:])


def test_the_surest_of_logits_is_not_that_of_the_largest_one():
    rows = np.array([[[9, 8, 0], [0, 4, -9]]], np.float32)
    best = Positions("best-nonblank", 0)
    assert best.best(rows, 1, "logits").tolist() == [[4, -9]]
    assert best.best(rows, 1, "probabilities").tolist() == [[8, 0]]
    # Of equal ones the first; another level changes nothing.
    same = np.array([[[0, 1, 2], [5, 6, 7], [0, 2, 1]]], np.float32)
    assert best.best(same, 1, "logits").tolist() == [[1, 2]]


def test_a_mask_has_no_place_beside_the_surest_position(tmp_path):
    options = ["--positions", "best-nonblank", "--blank", "0"]
    with start(tmp_path, "lengths", *options) as worker:
        assert "best-nonblank records one row of a view: give rows alone" in worker.refusal


def test_lengths_say_how_many_of_the_first_positions_count(tmp_path):
    with start(tmp_path, "lengths", "--positions", "every") as worker:
        assert worker.welcome["ragged"]
        expected, given = ask(worker, 6, 8)
    counts = expected[:, 0, 0] % 5
    assert len(set(counts.tolist())) > 2
    for view, count, (places, rows) in zip(expected, counts, given):
        assert places.tolist() == list(range(count)) and np.array_equal(rows, view[:count])


def test_a_module_gives_rows_and_a_mask(tmp_path):
    torch = pytest.importorskip("torch")
    with start(tmp_path, "tagger", "--positions", "every", mode="--torch") as worker:
        expected, given = ask(worker, 7, 5)
        assert worker.welcome["ragged"] and worker.welcome["classes"] == 5
    torch.manual_seed(1)
    layer = torch.nn.Linear(3, 5)
    exact = layer(torch.from_numpy(expected.astype(np.float32) / 255)).detach().numpy()
    for view, logits, (places, rows) in zip(expected, exact, given):
        counting = np.flatnonzero(view[:, 0] > 127)
        assert places.tolist() == counting.tolist()
        assert np.abs(rows - logits[counting]).max(initial=0) < 1e-5


def test_a_module_without_a_mask_gives_all_rows(tmp_path):
    pytest.importorskip("torch")
    options = {"mode": "--torch", "masked": False}
    with start(tmp_path, "tagger", "--positions", "every", **options) as worker:
        _, rows = ask(worker, 8, 3)
        assert rows.shape == (3, 4, 5) and not worker.welcome["ragged"]


def test_tokens_with_labels_come_with_an_axis_of_their_own(tmp_path):
    options = {"shape": (6,), "labels": 2}
    with start(tmp_path, "tokens", "--positions", "every", **options) as worker:
        numbers = np.random.default_rng(1).standard_normal((3, 6)).astype("<f4")
        worker.ask(1, numbers)
        assert np.array_equal(answer(worker, 1, 3), 2 * numbers.reshape(3, 2, 3))


@pytest.mark.parametrize(
    "name, options, text",
    [
        ("columns", [], "say with --positions which are recorded"),
        ("flat", ["--positions", "every"], "rows of shape [8, 12], [8, positions, classes] is"),
        ("single", ["--positions", "every"], "rows of 1 positions, there must be 2...4096"),
        ("columns", ["--positions", "every", "--blank", "3"], "--blank is 3, there are 3 classes"),
    ],
)
def test_rows_that_do_not_fit_the_options_are_refused(tmp_path, name, options, text):
    with start(tmp_path, name, *options) as worker:
        assert text in worker.refusal


def test_names_of_other_classes_are_refused(tmp_path):
    options = ["--positions", "nonblank", "--blank", "0"]
    with start(tmp_path, "columns", *options, names=2) as worker:
        assert "class_names has 2 names for 3 classes" in worker.refusal


@pytest.mark.parametrize(
    "name, text",
    [
        ("fickle", "a mask or lengths come with all rows or with none"),
        ("growing", "rows of [3, 3] positions and classes, before it was (4, 3)"),
    ],
)
def test_answers_that_are_not_as_the_first_are_refused(tmp_path, name, text):
    with start(tmp_path, name, "--positions", "every") as worker:
        assert worker.welcome["positions"] == 4
        worker.ask(1, views(1, 8, worker.shape))
        assert text in worker.error(1)


def test_lengths_beyond_the_positions_are_refused(tmp_path):
    with start(tmp_path, "lengths", "--positions", "every", too_many=9) as worker:
        assert "lengths in 9...9; they are whole numbers in 0...4" in worker.refusal


@pytest.mark.parametrize(
    "counting",
    [
        np.zeros(3),
        np.zeros((2, 3)),
        np.array([0.5, 1]),
        np.array([-1, 0]),
        np.full((2, 4), 0.5),
        np.full((2, 4), np.nan),
    ],
)
def test_what_is_no_mask_is_refused(counting):
    with pytest.raises(LogitCacheError):
        Positions("every").rows((np.zeros((2, 4, 3)), counting), 2)


@pytest.mark.parametrize(
    "settings",
    [
        ("nonblank",),
        ("best-nonblank",),
        ("best-nonblank", 1, True),
        ("evry",),
        ("every", -1),
        ("every", 1, True),
    ],
)
def test_rules_without_a_meaning_are_refused(settings):
    with pytest.raises(LogitCacheError):
        Positions(*settings)


@pytest.mark.parametrize(
    "options, text",
    [
        (["--positions", "nonblank"], "--positions nonblank needs --blank"),
        (["--positions", "best-nonblank"], "--positions best-nonblank needs --blank"),
        (["--blank", "1"], "needs --positions"),
        (["--positions", "every", "--keep-blank"], "needs --positions nonblank"),
        (["--positions", "best"], "invalid choice"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, text, capsys):
    from logitcache.worker.__main__ import parse

    with pytest.raises(SystemExit):
        parse(["--function", "teachers:columns", *options])
    assert text in capsys.readouterr().err
