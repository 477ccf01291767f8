"""Seconds of ZeroGPU to ask for. A visitor needs that much left, so asking for too much turns visitors away.

A network call of the bundled models runs 476 operations of torch, each about 20 microseconds on the CPU that feeds the
GPU, and 1.1 GFLOP per image of 32x32 pixels (both counted, see docs/deploying.md). Half an RTX Pro 6000 is assumed
to be as fast as a quarter of an H200, which trained at 28 TFLOP/s. Three times the resulting seconds are requested.
"""

import math
from dataclasses import dataclass

START = 4.0  # seconds for the process, CUDA and the weights
PER_CALL = 3 * 0.010  # seconds of a network call, whatever the number of rows
PER_ROW = 3 * 0.00015  # seconds of one image of BASE_SIDE pixels in a network of at most BASE_PARAMETERS
BASE_SIDE, BASE_PARAMETERS = 32, 5_000_000
CLASSIFIER_CALLS = 3  # a classifier runs forward and backward
# What the `spaces` package multiplies a duration by on this GPU, and the seconds that a visitor has each day.
ZERO_GPU_FACTOR = 1.5
QUOTAS = {"anonymous": 120, "free account": 300, "PRO account": 2400}


@dataclass(frozen=True)
class GpuWork:
    """One call of a sampler.

    side        of the images in pixels
    parameters  of the network
    """

    images: int
    steps: int
    guided: bool
    classifier: bool
    side: int
    parameters: int

    @property
    def seconds(self) -> int:
        """The duration to ask ZeroGPU for, in seconds, before its own factor."""
        calls = 1 + (CLASSIFIER_CALLS if self.classifier else 0)
        rows = self.images * (calls + (1 if self.guided else 0))
        row = PER_ROW * (self.side / BASE_SIDE) ** 2 * max(1.0, self.parameters / BASE_PARAMETERS)
        return math.ceil(START + self.steps * (PER_CALL * calls + row * rows))


def charged(seconds: int) -> int:
    """Return the seconds of a visitor's quota that a call of this duration needs, rounded up."""
    return math.ceil(ZERO_GPU_FACTOR * seconds)
