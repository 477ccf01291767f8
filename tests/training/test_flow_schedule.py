"""A network trained on the straight path of flow matching: its files, its samples, and refused epsilon prediction."""

import json

import torch

from diffusion_demo.diffusion.flow import euler
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.unet import as_denoiser

FLOW = ["--beta-schedule", "flow", "--num-train-timesteps", "100"]


def test_a_model_is_trained_stored_and_sampled_on_the_straight_path(digits, command, tiny, tmp_path):
    options = [*tiny, *FLOW, "--prediction-type", "v_prediction", "--max-steps", "4", "--sample-every", "4"]
    done = command("train", "--data", digits, "--run", "run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run" / "checkpoints" / "step_000004"
    stored = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert stored["trained_betas"] == named_betas("flow", 100).tolist() and stored["trained_betas"][-1] == 1
    checkpoint = load_checkpoint(folder)
    assert float(checkpoint.diffusion.abar[-1]) == 0
    chain = checkpoint.diffusion.respaced(spaced_timesteps(100, 4))
    labels = {"class_labels": torch.zeros(2, dtype=torch.int64)}
    with torch.no_grad():
        *_, last = euler(as_denoiser(checkpoint.unet, "fp32"), chain, torch.randn(2, 1, 16, 16), torch.Tensor, **labels)
    assert last.xt.shape == (2, 1, 16, 16) and bool(last.xt.isfinite().all())
    for sampler in ("ddpm", "ddim", "dpm_solver"):
        arguments = ["--checkpoint", folder, "--out", sampler, "--sampler", sampler, "--steps", 4, "--num-images", 1]
        sampled = command("sample", *arguments, cwd=tmp_path)
        assert sampled.returncode == 0 and list((tmp_path / sampler).glob("*.png")), sampled.stderr


def test_epsilon_prediction_is_refused_in_one_sentence(digits, command, tiny, tmp_path):
    options = [*tiny, *FLOW, "--prediction-type", "epsilon", "--max-steps", "1"]
    done = command("train", "--data", digits, "--run", "run", *options, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "abar_T is 0" in done.stderr and "Traceback" not in done.stderr
