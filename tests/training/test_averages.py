"""The exponential moving average of the weights, with its warm-up and at the constant rate of the papers."""

import pytest
import torch
from torch import nn

from diffusion_demo.training.loop import Budget
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.trainer import make_average
from tests.training.events import latest_checkpoint, weights_of


class OneWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def averages(warmup, decay, steps):
    """Return the average after each step of a weight that starts at 0 and is n after step n."""
    network, found = OneWeight(), []
    average = make_average(network, decay, warmup)
    for step in range(1, steps + 1):
        network.weight.data.fill_(step)
        average.step(network.parameters())
        found.append(average.shadow_params[0].item())
    return found


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_the_constant_rate_is_that_of_the_papers_from_the_first_step_on(decay):
    """update_ema of Improved DDPM: target = rate * target + (1 - rate) * source, from a copy of the initial weights."""
    target, expected = 0.0, []
    for step in range(1, 31):
        target = decay * target + (1 - decay) * step
        expected.append(target)
    assert averages(False, decay, 30) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("decay", [0.5, 0.9999])
def test_the_warm_up_limits_the_decay_to_n_over_n_plus_9(decay):
    target, expected = 0.0, []
    for step in range(1, 31):
        rate = min(decay, step / (step + 9)) if step > 1 else 0.0
        target = rate * target + (1 - rate) * step
        expected.append(target)
    assert averages(True, decay, 30) == pytest.approx(expected, rel=1e-4)


def test_the_constant_rate_can_be_chosen_and_survives_a_resume(train, run, tmp_path):
    rate = {"ema_warmup": False, "ema_decays": (0.9,)}
    straight, warmed = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "warmed")
    list(train(Budget(max_steps=4), run=straight, **rate))
    list(train(Budget(max_steps=4), run=warmed, ema_decays=(0.9,)))
    list(train(Budget(max_steps=2), **rate))
    list(train(Budget(max_steps=4), resume=True, **rate))
    resumed, never_stopped, other = (weights_of(latest_checkpoint(each)) for each in (run, straight, warmed))
    assert all(torch.equal(resumed[name], never_stopped[name]) for name in never_stopped)
    name = "state/ema_0.9.safetensors:0"
    assert not torch.equal(other[name], resumed[name])
