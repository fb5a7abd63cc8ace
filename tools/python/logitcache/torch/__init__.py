"""PyTorch: a data set that replays a cache, and losses on its records.

data = ReplayDataset("runs/cache", lambda: open_data_set("fashion-mnist/train"))
sampler = EpochSampler(data, batch=128, seed=1)
loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate, num_workers=2)
for epoch in range(4):
    sampler.epoch = epoch
    for batch in loader:
        loss = kd(student(batch.images()), batch.teacher, temperature=4)
"""

from .dataset import EpochSampler, ReplayBatch, ReplayDataset, collate
from .losses import dist, kd, mse, pld
from .teacher import TeacherBatch

__all__ = [
    "EpochSampler",
    "ReplayBatch",
    "ReplayDataset",
    "TeacherBatch",
    "collate",
    "dist",
    "kd",
    "mse",
    "pld",
]
