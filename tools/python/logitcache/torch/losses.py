"""Losses of student logits [B, C] against sparse records: means over the batch, in nats.

For records at positions student logits may be [samples, M, C]; means are then over the positions
that have a record, and 0 where none has.

Teacher values are constants. Work is done in the type of the student's logits. Losses that need
what a truncated record does not hold refuse it, unless `tail` says how to go on.
"""

import functools
import math

import torch
from torch import Tensor

from ..errors import demand
from .teacher import TeacherBatch


def _over_records(loss):
    """Gives a loss the student's logits of each record."""

    @functools.wraps(loss)
    def over_records(student: Tensor, teacher: TeacherBatch, *arguments, **options) -> Tensor:
        if teacher.owners is not None:
            student = teacher.rows(student)
        demand(
            student.shape == (len(teacher), teacher.classes),
            f"student logits {list(student.shape)} do not fit {len(teacher)} records of "
            f"{teacher.classes} classes",
        )
        return loss(student, teacher, *arguments, **options) if len(teacher) else student.sum()

    return over_records


def _outside(student: Tensor, ids: Tensor) -> Tensor:
    """True [B, C] for the classes that are not named [B, m]."""
    mask = torch.ones_like(student, dtype=torch.bool)
    return mask.scatter_(1, ids, False)


@_over_records
def kd(
    student: Tensor, teacher: TeacherBatch, temperature: float = 1.0, tail: str = "uniform"
) -> Tensor:
    """T^2 KL(p || q) with p = softmax(t / T), q = softmax(s / T), as in Hinton and others 2015.

    `tail` is "uniform", the tail's mass spread evenly over its classes, or "bucket", the tail
    taken as one class. An infinite temperature gives the limit, half the squared difference of
    centred logits over C; it needs the whole row, or `teacher.mean_tail_logits`.
    """
    demand(tail in ("uniform", "bucket"), f"KD has no tail {tail!r}")
    if math.isinf(temperature):
        difference = _difference(student, teacher, "mean")
        centred = difference - difference.mean(1, keepdim=True)
        return centred.square().sum(1).mean() / (2 * teacher.classes)
    log_q = (student / temperature).log_softmax(1)
    log_p, log_tail = teacher.log_shares(temperature, student.dtype)
    loss = (log_p.exp() * (log_p - log_q.gather(1, teacher.class_ids))).sum(1)
    if log_tail is not None:
        outside = _outside(student, teacher.class_ids)
        loss = loss + _tail_divergence(log_q, log_tail, outside, teacher.tail_classes, tail)
    return temperature**2 * loss.mean()


def _tail_divergence(log_q, log_tail, outside, classes: int, tail: str) -> Tensor:
    mass = log_tail.exp()
    if tail == "bucket":
        return mass * (log_tail - log_q.masked_fill(~outside, -math.inf).logsumexp(1))
    mean = log_q.masked_fill(~outside, 0).sum(1) / classes
    return mass * (log_tail - math.log(classes) - mean)


@_over_records
def mse(student: Tensor, teacher: TeacherBatch, tail: str = "exact") -> Tensor:
    """The mean over B and C of (s - t)^2, as in Kim and others 2021.

    `tail` is "exact", which refuses k < C; "drop", where a difference outside the head counts as
    0; or "mean", which needs `teacher.mean_tail_logits`.
    """
    return _difference(student, teacher, tail).square().mean()


def _difference(student: Tensor, teacher: TeacherBatch, tail: str) -> Tensor:
    """s - t over all classes."""
    demand(tail in ("exact", "drop", "mean"), f"MSE has no tail {tail!r}")
    head = (teacher.largest_logits[:, None] - teacher.gaps).to(student.dtype)
    rest = torch.zeros_like(student)
    if teacher.tail_classes > 0:
        demand(
            tail != "exact",
            "MSE needs every logit, and this cache keeps k of C; tail='drop' ignores the others",
        )
        if tail == "mean":
            known = teacher.mean_tail_logits
            demand(known is not None, "the mean logit of the tail is not known")
            rest = student - known.to(student.dtype)[:, None]
    return rest.scatter(1, teacher.class_ids, student.gather(1, teacher.class_ids) - head)


@_over_records
def dist(
    student: Tensor,
    teacher: TeacherBatch,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    epsilon: float = 1e-8,
    scale_by_temperature_squared: bool = True,
) -> Tensor:
    """tau^2 (beta (1 - mean rho of rows) + gamma (1 - mean rho of columns)), Huang and others 2022.

    rho is the correlation of softmax(s / tau) and softmax(t / tau), the tail's mass spread evenly.
    """
    log_p, log_tail = teacher.log_shares(temperature, student.dtype)
    wanted = torch.zeros_like(student)
    if log_tail is not None:
        wanted = wanted + (log_tail - math.log(teacher.tail_classes)).exp()[:, None]
    wanted = wanted.scatter(1, teacher.class_ids, log_p.exp())
    given = (student / temperature).softmax(1)
    loss = beta * (1 - _correlation(given, wanted, 1, epsilon).mean())
    if gamma != 0:
        loss = loss + gamma * (1 - _correlation(given, wanted, 0, epsilon).mean())
    return loss * temperature**2 if scale_by_temperature_squared else loss


def _correlation(a: Tensor, b: Tensor, axis: int, epsilon: float) -> Tensor:
    a, b = a - a.mean(axis, keepdim=True), b - b.mean(axis, keepdim=True)
    norms = torch.linalg.vector_norm(a, dim=axis) * torch.linalg.vector_norm(b, dim=axis)
    return (a * b).sum(axis) / (norms + epsilon)


@_over_records
def pld(
    student: Tensor, teacher: TeacherBatch, temperature: float = 1.0, tail: str = "drop"
) -> Tensor:
    """PLD over the placed classes: the label, then the head without it (arXiv:2506.12542).

    sum_r alpha_r (S_r - s_r), S_r the log-sum-exp of the student's logits from position r on,
    alpha = softmax(t / T). `tail` is "drop", which leaves out the positions that are not known,
    or "uniform", their mean over random orders with equal weights. Records with a ranking place all
    classes, those behind the head with weights that fall with the rank, and have no tail. Not
    twice differentiable.
    """
    demand(tail in ("drop", "uniform"), f"PLD has no tail {tail!r}")
    log_p, log_tail = teacher.log_shares(temperature, student.dtype)
    log_label = teacher.log_label_share(temperature, student.dtype)
    left = student.new_zeros(len(teacher))
    if log_tail is not None:
        is_in_head = teacher.label_ranks < teacher.k
        left = log_tail.exp() - torch.where(is_in_head, 0, log_label.exp())
        left = left.clamp(min=0)
    if teacher.ranking is not None:
        others = teacher.ranking[:, teacher.k :] != teacher.labels[:, None]
        log_others = _falling_weights(left, log_p[:, -1].exp(), others, teacher.k)
        log_p = torch.cat([log_p, log_others], 1)
        classes, left = teacher.ranking, torch.zeros_like(left)
    else:
        classes, left = teacher.class_ids, left if tail == "uniform" else torch.zeros_like(left)
    order, log_alpha, placed = _place(classes, teacher.labels, log_p, log_label)
    return _PLD.apply(student, order, log_alpha, placed, left)[0]


def _falling_weights(left: Tensor, last: Tensor, others: Tensor, k: int) -> Tensor:
    """Log weights [B, C - k] of the classes behind a head of k (docs/FORMAT.md, "Ranking").

    They sum to `left` [B] over `others` [B, C - k] and fall as ((r + 1) / k)^-c from `last` [B] on.
    """
    count = others.shape[1]
    mean = left.double() / others.sum(1).clamp(min=1)
    wanted = torch.where(mean < last, mean / last.double(), 1).clamp(min=0) * count
    start, end = math.log1p(0.5 / k), math.log((k + count + 0.5) / k)

    def integral(c: Tensor) -> Tensor:
        h = (1 - c) * (end - start)
        near = h.abs() < 1e-4
        ratio = torch.where(near, 1 + h * (0.5 + h / 6), h.expm1() / torch.where(near, 1, h))
        return k * ((1 - c) * start).exp() * (end - start) * ratio

    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 64.0 * (k + 1))
    for _ in range(60):
        middle = (low + high) / 2
        above = integral(middle) > wanted
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    c = torch.where((mean > 0) & (mean < last), (low + high) / 2, 0)
    ranks = torch.arange(k + 1, k + count + 1, dtype=torch.float64, device=left.device)
    fall = -c[:, None] * (ranks / k).log()
    total = fall.masked_fill(~others, -math.inf).logsumexp(1, keepdim=True)
    # Not minus infinity, which would mean a class that is not placed.
    weights = (left.double().log()[:, None] + fall - total).clamp(min=-1e30)
    return torch.nan_to_num(weights, nan=-1e30).to(left.dtype)


def _place(classes: Tensor, labels: Tensor, log_p: Tensor, log_label: Tensor):
    """The placed classes [B, m + 1], their log weights, and how many there are [B].

    They are the labels and then the other of `classes` [B, m], best first. Where these hold the
    label the last place is not used: its weight is 0.
    """
    label = labels[:, None]
    again = torch.cat([torch.zeros_like(label, dtype=torch.bool), classes == label], 1)
    moved = again.long().argsort(dim=1, stable=True)
    ids = torch.cat([label, classes], 1).gather(1, moved)
    weights = torch.cat([log_label[:, None], log_p], 1).gather(1, moved)
    placed = classes.shape[1] + 1 - again.sum(1)
    unused = torch.arange(classes.shape[1] + 1, device=ids.device) >= placed[:, None]
    return ids, weights.masked_fill(unused, -math.inf), placed


class _PLD(torch.autograd.Function):
    """Loss and gradient together: the gradient by sums of positive terms, nothing overflows."""

    @staticmethod
    def forward(student, order, log_alpha, placed, left):
        used = log_alpha > -math.inf
        logits = student.gather(1, order).masked_fill(~used, -math.inf)
        # A place that is not used names the label again, which is placed anyway.
        outside = _outside(student, order)
        rest = student.masked_fill(~outside, -math.inf)
        log_rest = rest.logsumexp(1, keepdim=True)
        # S: the log-sum-exp of everything from a position on.
        suffix = torch.cat([log_rest, logits.flip(1)], 1).logcumsumexp(1)[:, 1:].flip(1)
        alpha = log_alpha.exp()
        loss = (alpha * (suffix - logits)).masked_fill(~used, 0).sum(1)
        # logA: of the sum over earlier positions of alpha_r exp(-S_r).
        earlier = (log_alpha - suffix).masked_fill(~used, -math.inf).logcumsumexp(1)
        gradient = (rest + earlier[:, -1:]).exp()
        at_placed = torch.where(used, (logits + earlier).exp() - alpha, 0)
        gradient.scatter_add_(1, order, at_placed)
        return _PLD._with_tail(loss, gradient, rest, outside, placed, left)

    @staticmethod
    def _with_tail(loss, gradient, rest, outside, placed, left):
        """Adds the unplaced positions, whose weights sum to `left`, and means over the batch."""
        n = (gradient.shape[1] - placed).to(gradient.dtype).clamp(min=1)
        has_rest = outside.any(1)
        left = torch.where(has_rest, left, 0)
        mean = rest.masked_fill(~outside, 0).sum(1) / n
        log_rest = torch.where(has_rest, rest.logsumexp(1), 0)
        loss = loss + left * (log_rest - mean + torch.lgamma(n + 1) / n - n.log())
        among = (rest - log_rest[:, None]).exp() - 1 / n[:, None]
        gradient = gradient + torch.where(outside, left[:, None] * among, 0)
        return loss.mean(), gradient / len(gradient)

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(output[1])
        context.mark_non_differentiable(output[1])

    @staticmethod
    def backward(context, slope, _):
        (gradient,) = context.saved_tensors
        return slope * gradient, None, None, None, None
