"""The dense way: the losses in eager PyTorch on one thread, gradients by autograd.

A worker of `benchmarks losses`. It reads one command a line and answers each with one line of JSON:

  load FOLDER          student.npy [B, C], teacher.npy [B, C], labels.npy [B] -> {}
  check LOSS FILE      the loss; writes its gradient [B, C] to FILE (.npy)    -> {"loss": L}
  time LOSS SECONDS    the fastest forward and backward pass of many          -> {"nanoseconds": N}

LOSS is a name or name@temperature. The teacher's softmax, sort and so on are part of each pass: a
trainer that is given dense teacher logits repeats them in every step.
"""

import json
import sys
import time

import numpy
import torch
import torch.nn.functional as F


def cross_entropy(student, teacher, labels, T):
    return F.cross_entropy(student, labels)


def kd(student, teacher, labels, T):
    """Hinton and others 2015, arXiv:1503.02531."""
    log_q = F.log_softmax(student / T, dim=1)
    p = F.softmax(teacher / T, dim=1)
    return F.kl_div(log_q, p, reduction="batchmean") * T**2


def mse(student, teacher, labels, T):
    """Kim and others 2021, arXiv:2105.08919."""
    return F.mse_loss(student, teacher)


def dist(student, teacher, labels, T):
    """Huang and others 2022, arXiv:2205.10536, with beta = gamma = 1."""

    def one_minus_correlation(a, b, eps=1e-8):
        a = a - a.mean(dim=1, keepdim=True)
        b = b - b.mean(dim=1, keepdim=True)
        rho = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + eps)
        return 1 - rho.mean()

    y, x = F.softmax(student / T, dim=1), F.softmax(teacher / T, dim=1)
    return T**2 * (one_minus_correlation(y, x) + one_minus_correlation(y.t(), x.t()))


def pld(student, teacher, labels, T):
    """PLD, NeurIPS 2025, arXiv:2506.12542: the label first, then the teacher's order."""
    label_first = teacher.scatter(1, labels.unsqueeze(1), float("inf"))
    order = label_first.argsort(dim=1, descending=True, stable=True)
    alpha = F.softmax(teacher / T, dim=1).gather(1, order)
    ranked = student.gather(1, order)
    suffix = ranked.flip(1).logcumsumexp(dim=1).flip(1)
    return (alpha * (suffix - ranked)).sum(dim=1).mean()


def dkd(student, teacher, labels, T, alpha=1, beta=8):
    """Zhao and others 2022, arXiv:2203.08679; -1000 takes the label out, as the authors do."""
    label = F.one_hot(labels, student.shape[1]).bool()

    def target_and_rest(logits):
        p = F.softmax(logits / T, dim=1)
        return torch.stack([(p * label).sum(dim=1), (p * ~label).sum(dim=1)], dim=1)

    target = F.kl_div(
        target_and_rest(student).log(), target_and_rest(teacher), reduction="batchmean")
    rest = F.kl_div(
        F.log_softmax(student / T - 1000.0 * label, dim=1),
        F.softmax(teacher / T - 1000.0 * label, dim=1), reduction="batchmean")
    return T**2 * (alpha * target + beta * rest)


LOSSES = {"ce": cross_entropy, "kd": kd, "mse": mse, "dist": dist, "pld": pld, "dkd": dkd}


class Worker:
    def load(self, folder):
        def read(name):
            return torch.from_numpy(numpy.load(f"{folder}/{name}.npy"))

        self.student = read("student").requires_grad_()
        self.teacher = read("teacher")
        self.labels = read("labels").long()
        return {}

    def step(self, text):
        """One forward and backward pass; the gradient is left in `student.grad`."""
        name, _, temperature = text.partition("@")
        self.student.grad = None
        loss = LOSSES[name](self.student, self.teacher, self.labels, float(temperature or 1))
        loss.backward()
        return loss

    def check(self, text, file):
        loss = self.step(text).item()
        numpy.save(file, self.student.grad.numpy())
        return {"loss": loss}

    def time(self, text, seconds):
        """The least time of a pass, in samples of at least a millisecond, at least five of them."""

        def sample(passes):
            start = time.perf_counter_ns()
            for _ in range(passes):
                self.step(text)
            return (time.perf_counter_ns() - start) / passes

        sample(1)
        passes = int(1e6 // sample(1)) + 1
        end = time.perf_counter() + float(seconds)
        samples = []
        while len(samples) < 5 or time.perf_counter() < end:
            samples.append(sample(passes))
        return {"nanoseconds": min(samples)}


def main():
    torch.set_num_threads(1)
    worker = Worker()
    version = f"{torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        answer = getattr(worker, command)(*arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
