"""The ResNet-20 of Examples/fashion-mnist in PyTorch: what a teacher of one's own looks like.

`load` is all that the worker knows; `forward` gets what the configuration's --input asks for.
"""

import json
import pathlib
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions and a shortcut without weights (He et al. 2015, option A)."""

    def __init__(self, before: int, channels: int, stride: int):
        super().__init__()
        self.stride, self.new = stride, channels - before
        self.convolution1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.convolution2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        branch = self.norm1(self.convolution1(x)).relu()
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.new))
        return (self.norm2(self.convolution2(branch)) + shortcut).relu()


class ResNet(nn.Module):
    """Gives logits and, for losses on features, the input of the last layer."""

    def __init__(self, classes: int = 10, blocks: int = 3):
        super().__init__()
        self.stem = nn.ModuleDict(
            {"convolution": nn.Conv2d(1, 16, 3, 1, 1, bias=False), "norm": nn.BatchNorm2d(16)}
        )
        before = 16
        for stage, channels in enumerate([16, 32, 64], 1):
            parts = {}
            for index in range(blocks):
                stride = 2 if before != channels else 1
                parts[f"block{index}"] = Block(before, channels, stride)
                before = channels
            setattr(self, f"stage{stage}", nn.ModuleDict(parts))
        self.classifier = nn.Linear(64, classes)

    def forward(self, x):
        x = self.stem["norm"](self.stem["convolution"](x)).relu()
        for stage in (self.stage1, self.stage2, self.stage3):
            for block in stage.values():
                x = block(x)
        features = x.mean((2, 3))
        return self.classifier(features), features


def load(weights: str) -> ResNet:
    """A ResNet-20 with the weights of a file that `logitcache train` wrote."""
    content = pathlib.Path(weights).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    state = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = (8 + length + offset for offset in entry["data_offsets"])
            values = np.frombuffer(content[first:last], "<f4").reshape(entry["shape"])
            # Ours are [height, width, in, out] and [in, out].
            axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[values.ndim]
            state[renamed(name)] = torch.from_numpy(values.transpose(axes).copy())
    model = ResNet()
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    return model


def renamed(name: str) -> str:
    """PyTorch's name of an array."""
    endings = {".scale": ".weight", ".shift": ".bias", ".running_variance": ".running_var"}
    for ours, theirs in endings.items():
        if name.endswith(ours):
            return name.removesuffix(ours) + theirs
    return name
