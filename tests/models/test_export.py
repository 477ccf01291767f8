"""Exported checkpoints: stock diffusers draws the same samples from the same noise."""

import os
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from safetensors import SafetensorError

from diffusion_demo.cli import main
from diffusion_demo.diffusion.samplers import ddpm
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.export import export
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.sampling.generate import last_step


@torch.no_grad()
def sample_with_diffusers(folder, count):
    """Sample as DDPMPipeline does, with x_T and then the noise of each step from one generator."""
    pipeline, generator = DDPMPipeline.from_pretrained(folder), torch.Generator().manual_seed(3)
    unet, scheduler = pipeline.unet, pipeline.scheduler
    xt = torch.randn(
        count, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size, generator=generator
    )
    scheduler.set_timesteps(scheduler.config.num_train_timesteps)
    for t in scheduler.timesteps:
        xt = scheduler.step(unet(xt, t).sample, t, xt, generator=generator).prev_sample
    return xt


@torch.no_grad()
def sample_with_ours(checkpoint, count, **condition):
    """Sample with our sampler and the same noise."""
    generator = torch.Generator().manual_seed(3)
    size, channels = checkpoint.description.image_size, checkpoint.description.channels

    def noise():
        return torch.randn(count, channels, size, size, generator=generator)

    return last_step(ddpm(as_denoiser(checkpoint.unet, "fp32"), checkpoint.diffusion, noise(), noise, **condition)).xt


@pytest.mark.parametrize(("class_name", "index"), [("three", 1), (None, 3)])
def test_diffusers_samples_the_same_images_from_the_same_noise(trained_checkpoint, tmp_path, class_name, index):
    ours = load_checkpoint(trained_checkpoint)
    export(ours, "ours", tmp_path / "plain", class_name)
    expected = sample_with_ours(ours, 2, class_labels=torch.full((2,), index))
    torch.testing.assert_close(sample_with_diffusers(tmp_path / "plain", 2), expected, rtol=0, atol=1e-4)
    reloaded = load_checkpoint(tmp_path / "plain")
    torch.testing.assert_close(sample_with_ours(reloaded, 2), expected, rtol=0, atol=1e-4)
    assert reloaded.description.class_names == () and [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_the_exported_pipeline_runs(trained_checkpoint, tmp_path):
    assert (
        main(["export", "--checkpoint", str(trained_checkpoint), "--class", "one", "--out", str(tmp_path / "one")]) == 0
    )
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "one")
    pipeline.set_progress_bar_config(disable=True)
    assert type(pipeline.unet) is UNet2DModel and pipeline.unet.config["num_class_embeds"] is None
    images, *_ = pipeline(num_inference_steps=3, return_dict=False)
    assert images[0].size == (16, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--class", "four"], "one, three, two"),
        (["--checkpoint", "oracle-memory"], "formula without weights"),
        (["--checkpoint", "nowhere"], "nowhere"),
        (["--out", "."], "already exists"),
    ],
)
def test_an_invalid_export_is_refused_in_one_line(trained_checkpoint, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--checkpoint", str(trained_checkpoint), "--out", "out", *arguments]) == 2
    printed = capsys.readouterr().err
    assert words in printed and printed.endswith(".\n") and printed.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_null_class_that_was_not_trained_is_not_exported(trained_checkpoint, tmp_path):
    ours = load_checkpoint(trained_checkpoint)
    untrained = replace(ours, description=replace(ours.description, guidance=False))
    with pytest.raises(BadInput, match=r"not trained without classes\. Set --class to one of one, three, two"):
        export(untrained, "ours", tmp_path / "plain")
    assert not list(tmp_path.iterdir())
    export(untrained, "ours", tmp_path / "plain", "two")


def test_a_network_that_diffusers_would_misread_is_refused(checkpoint, tmp_path):
    class Other(UNet2DModel):
        pass

    with pytest.raises(BadInput, match="misread"):
        export(replace(checkpoint, unet=Other.from_config(checkpoint.unet.config)), "other", tmp_path / "out")


def test_files_of_an_exported_checkpoint_have_the_permissions_of_the_umask(random_checkpoint, tmp_path):
    before = os.umask(0o027)
    try:
        export(load_checkpoint(random_checkpoint), "ours", tmp_path / "plain")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "plain").rglob("*") if path.is_file()} == {0o640}


def test_a_full_disk_is_one_sentence_and_leaves_no_folder(random_checkpoint, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("diffusion_demo.models.export.save_checkpoint", fail)
    with pytest.raises(BadInput, match=r"^Cannot write to .* \(No space left on device\)\. Choose another folder\.$"):
        export(load_checkpoint(random_checkpoint), "random", tmp_path / "new" / "out")
    assert not list(tmp_path.iterdir())


def test_only_a_model_that_makes_images_is_exported(random_checkpoint, tmp_path):
    ours = load_checkpoint(random_checkpoint)
    for task in ("classifier", "upsampler"):
        other = replace(ours, description=replace(ours.description, task=task))
        with pytest.raises(BadInput, match=rf"^other is an? {task}, which DDPMPipeline cannot sample from\."):
            export(other, "other", tmp_path / "out")
    assert not list(tmp_path.iterdir())
