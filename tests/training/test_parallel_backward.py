"""The gradient computed on several cores, and its deterministic randomness."""

import copy

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn

from diffusion_demo.diffusion.losses import training_losses
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.unet import build_unet
from diffusion_demo.training.batches import Batch
from diffusion_demo.training.cpu import parallel_backward
from diffusion_demo.training.cpu.optimize import optimize_for_cpu
from diffusion_demo.training.cpu.parallel_backward import accumulate_gradient, training_slices
from diffusion_demo.training.cpu.seeded_dropout import SeededDropout, seeded

CHAIN = Diffusion(named_betas("squaredcos_cap_v2", 100), "epsilon", "learned_range")
WHOLE, CUT = [slice(0, 6)], [slice(0, 2), slice(2, 6)]


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return Batch(
        torch.randn(6, 3, 16, 16), torch.arange(6) % 3, torch.arange(6) * 15, torch.rand(6), torch.randn(6, 3, 16, 16)
    )


def network(dropout):
    """Return a network with three classes and without zero weights."""
    torch.manual_seed(0)
    unet = build_unet("tiny", 16, 3, learns_variance=True, num_classes=3, dropout=dropout)
    for parameter in unet.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return unet.train()


def losses(unet, part):
    xt = CHAIN.q_sample(part.x0, part.t, part.eps)
    found = training_losses(CHAIN, unet(xt, part.t, class_labels=part.labels).sample, part.x0, xt, part.t, part.eps)
    return torch.stack([found.loss, found.mse], dim=1)


def gradient(unet, batch, cuts, seed=7, share=1.0):
    unet.zero_grad()
    rows = accumulate_gradient(unet, losses, batch, cuts, seed, share)
    return rows, {name: parameter.grad.clone() for name, parameter in unet.named_parameters()}


def test_the_cores_gradient_is_that_of_the_whole_batch(batch):
    unet = network(dropout=0.0)
    optimize_for_cpu(unet)
    (rows, whole), (same_rows, cut) = gradient(unet, batch, WHOLE), gradient(unet, batch, CUT)
    torch.testing.assert_close(same_rows, rows, rtol=1e-4, atol=1e-5)
    assert not rows.requires_grad and not same_rows.requires_grad
    assert max(g.abs().max() for g in whole.values()) > 0.1
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-3, atol=1e-5)
    _, third = gradient(unet, batch, CUT, share=1 / 3)
    torch.testing.assert_close(third["conv_in.weight"], whole["conv_in.weight"] / 3, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 17, 64])
def test_any_number_of_cores_gives_the_gradient_of_one(threads, cores):
    torch.manual_seed(2)
    x0, eps = torch.randn(2, 16, 3, 16, 16)
    batch = Batch(x0, torch.arange(16) % 3, torch.arange(16) * 6, torch.rand(16), eps)
    unet = network(dropout=0.0)
    optimize_for_cpu(unet)
    rows, whole = gradient(unet, batch, [slice(0, 16)])
    threads(cores)
    slices = training_slices(16, unet)
    assert len(slices) == min(cores, 8), "each core gets at least two rows"
    cut_rows, cut = gradient(unet, batch, slices)
    _, again = gradient(unet, batch, slices)
    torch.testing.assert_close(cut_rows, rows, rtol=1e-4, atol=1e-5)
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], rtol=1e-3, atol=1e-5)
        assert torch.equal(cut[name], again[name])


def test_the_gradients_of_all_cores_together_are_bounded(threads, monkeypatch):
    threads(64)
    unet = network(dropout=0.0)
    one = sum(4 * p.numel() for p in unet.parameters())
    monkeypatch.setattr(parallel_backward, "MAX_GRADIENT_BYTES", 3 * one + 1)
    assert len(training_slices(64, unet)) == 3
    monkeypatch.setattr(parallel_backward, "MAX_GRADIENT_BYTES", one - 1)
    assert training_slices(64, unet) == [slice(0, 64)]


def test_what_is_added_adds_up(batch):
    unet = network(dropout=0.0)
    _, once = gradient(unet, batch, CUT)
    accumulate_gradient(unet, losses, batch, CUT, 7)
    torch.testing.assert_close(unet.conv_in.weight.grad, 2 * once["conv_in.weight"])


def test_chance_is_the_seeds_and_not_the_threads(batch):
    unet = network(dropout=0.3)
    optimize_for_cpu(unet)
    _, first = gradient(unet, batch, CUT)
    torch.rand(5)  # the global generator has no effect
    _, again = gradient(unet, batch, CUT)
    _, other = gradient(unet, batch, CUT, seed=8)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])
    unet.enable_gradient_checkpointing()
    _, recomputed = gradient(unet, batch, CUT)
    assert all(torch.equal(first[name], recomputed[name]) for name in first)


def test_a_seeded_dropout_drops_the_share_that_it_should_and_no_two_alike():
    x = torch.ones(400, 500)
    with seeded(3):
        first, again, other = SeededDropout(0.3, 0)(x), SeededDropout(0.3, 0)(x), SeededDropout(0.3, 1)(x)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (first == 0).float().mean() == pytest.approx(0.3, abs=0.005)
    both = ((first == 0) & (other == 0)).float().mean()
    assert both == pytest.approx(0.09, abs=0.005), "the two masks are not independent"
    assert torch.equal(SeededDropout(0.3, 0).eval()(x), x)


def test_a_network_laid_out_for_the_cpu_answers_as_before(batch):
    unet = network(dropout=0.3).eval()
    unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (diffusers' decorator hides self)
    laid_out = copy.deepcopy(unet)
    optimize_for_cpu(laid_out)
    assert laid_out.conv_in.weight.is_contiguous() and not unet.conv_in.weight.is_contiguous()
    seeded_ones = [module for module in laid_out.modules() if isinstance(module, SeededDropout)]
    assert (
        len({module.number for module in seeded_ones})
        == len(seeded_ones)
        == sum(type(m) is nn.Dropout for m in unet.modules())
        > 5
    )
    assert any(isinstance(module, Attention) for module in unet.modules())
    for side in (16, 32):  # feature maps of 8x8, and larger ones
        x = torch.randn(2, 3, side, side)
        with torch.no_grad():
            before, after = (each(x, 5, class_labels=torch.tensor([0, 2])).sample for each in (unet, laid_out))
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
