"""Classifier-free guidance around a denoiser whose answers are known."""

import torch

from diffusion_demo.diffusion.guidance import classifier_free

NULL = 3


def model(xt, t, class_labels):
    """Two prediction channels and two variance channels that say which class they were asked for."""
    labels = class_labels.float().reshape(-1, 1, 1, 1)
    return torch.cat([xt + 10 * labels, 100 + labels.expand_as(xt)], dim=1)


def test_guidance_goes_from_the_null_class_past_the_class_and_takes_the_variance_of_the_class():
    xt, t, labels = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 5]), torch.tensor([0, 2])
    named, null = model(xt, t, labels), model(xt, t, torch.full_like(labels, NULL))
    for scale in (0.0, 0.5, 1.0, 3.0):
        guided = classifier_free(model, scale, NULL, 2)(xt, t, class_labels=labels)
        torch.testing.assert_close(guided[:, :2], (1 - scale) * null[:, :2] + scale * named[:, :2], rtol=1e-5, atol=1e-4)
        assert torch.equal(guided[:, 2:], named[:, 2:])


def test_guidance_of_1_costs_no_second_call():
    assert classifier_free(model, 1.0, NULL, 2) is model
