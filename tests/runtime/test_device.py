"""The device and the precision of this machine."""

import pytest
import torch

from diffusion_demo.runtime.device import best_device, num_devices, resolve_precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_was_chosen_is_used_whichever_is_the_fastest(precision):
    assert resolve_precision(precision, torch.device("cpu")) == precision
    assert resolve_precision("auto", best_device()) in ("fp32", "bf16") and num_devices() >= 1
