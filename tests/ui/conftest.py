"""Models for the tests of the page."""

import shutil

import pytest
import torch

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.models.checkpoint import make_scheduler, save_checkpoint
from diffusion_demo.models.classifier import build_classifier, save_classifier
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.unet import build_unet
from diffusion_demo.ui.server import model_list
from tests.conftest import CLASSES


@pytest.fixture
def three_models(random_checkpoint, monkeypatch, tmp_path):
    """Return a checkpoints folder with a diffusion model, one with a classifier, and an upsampler for both."""
    bundled = tmp_path / "checkpoints"
    shutil.copytree(random_checkpoint, bundled / "plain")
    shutil.copytree(random_checkpoint, bundled / "with-classifier")
    save_classifier(bundled / "with-classifier" / "classifier", build_classifier("tiny", 16, 3, CLASSES))
    torch.manual_seed(0)
    upsampler = build_unet("tiny", 32, 3, learns_variance=True, num_classes=0, is_upsampler=True)
    metadata = CheckpointMetadata(32, 3, 1000, task="upsampler", small_size=16)
    diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), "epsilon", "learned_range")
    save_checkpoint(
        bundled / "twice",
        upsampler,
        make_scheduler("squaredcos_cap_v2", diffusion),
        metadata,
        model_card(metadata, 1, None),
    )
    monkeypatch.setattr(model_list, "CHECKPOINTS", bundled)
    monkeypatch.setattr(model_list, "RUNS", tmp_path / "runs")
    return bundled
