"""How views become a model's input."""

from dataclasses import dataclass

import numpy as np

from ..errors import demand
from .server import Hello


@dataclass(frozen=True)
class Preprocessing:
    """(value / divide_by - mean) / deviation in a layout, or views as they are."""

    layout: str = "raw"
    divide_by: float = 255
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)

    @property
    def identity(self) -> dict[str, str] | str:
        """Everything that decides the input."""
        if self.layout == "raw":
            return "raw"

        def text(numbers):
            return " ".join(repr(float(number)) for number in numbers)

        return {
            "layout": self.layout,
            "divideBy": text([self.divide_by]),
            "mean": text(self.mean),
            "deviation": text(self.deviation),
        }

    def prepare(self, hello: Hello):
        """A function from views [n, ...hello.shape] to inputs."""
        if self.layout == "raw":
            return lambda views: views
        demand(
            hello.is_image and len(hello.shape) == 3,
            f"--input {self.layout} is for images, the data set has views of {list(hello.shape)}",
        )
        channels = hello.shape[2]
        mean, deviation = self._each(self.mean, channels), self._each(self.deviation, channels)
        demand((deviation > 0).all() and self.divide_by > 0, "--deviation must be above 0")
        # What a pixel of value 0...255 becomes, for every channel.
        values = np.arange(256, dtype=np.float32)[:, None] / np.float32(self.divide_by)
        values = (values - mean) / deviation

        def prepared(views: np.ndarray) -> np.ndarray:
            parts = [values[views[..., channel], channel] for channel in range(channels)]
            return np.stack(parts, axis=1 if self.layout == "nchw" else 3)

        return prepared

    @staticmethod
    def _each(numbers: tuple[float, ...], channels: int) -> np.ndarray:
        demand(
            len(numbers) in (1, channels),
            f"{len(numbers)} numbers are given for {channels} channels",
        )
        return np.broadcast_to(np.asarray(numbers, np.float32), (channels,))
