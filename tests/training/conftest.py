"""Fixtures of the training tests: a training call in this process."""

from dataclasses import replace

import pytest

from diffusion_demo.training import loop, tasks
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.loop import Budget
from diffusion_demo.training.run_folder import RunFolder


@pytest.fixture
def short_previews(monkeypatch):
    monkeypatch.setattr(tasks, "PREVIEW", replace(tasks.PREVIEW, num_images=2, steps=2))


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def train(digits, run, short_previews):
    """Start or resume a run of eight steps, without checkpoints before its end unless `save_every` is given."""

    def start(budget=None, resume=False, run=run, **settings):
        tiny = {"preset": "tiny", "image_size": 16, "channels": 1, "batch_size": 8, "precision": "fp32"}
        rare = {"num_train_timesteps": 100, "warmup_steps": 2, "save_every": 1000, "sample_every": 1000}
        config = TrainConfig(**{"data": str(digits)} | tiny | rare | settings)
        return loop.train(config, run, budget or Budget(max_steps=8), resume, "a test")

    return start
