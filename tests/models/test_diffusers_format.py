"""Checkpoints written by diffusers: the same samples as diffusers, and errors for unsupported models."""

import json
import re
import shutil

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)
from safetensors.torch import load_file, save_file

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.sampling.generate import sample
from diffusion_demo.sampling.request import Request
from tests.models.ho import at_the_root, ho_network, ho_scheduler, refusal


def edit(file, **changes):
    """Change keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def sample_with_diffusers(folder, scheduler, seeds, **options):
    """Yield x after every step of a diffusers scheduler, with the noise of our seeds."""
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = torch.stack([torch.randn((3, 16, 16), generator=g) for g in generators])
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x, generator=generators, **options).prev_sample
            yield x


@pytest.mark.parametrize(("num_timesteps", "count", "steps"), [(100, 100, 100), (1000, 25, "ddim25")])
def test_a_ddpm_pipeline_is_sampled_as_by_its_own_scheduler(ddpm, tmp_path, num_timesteps, count, steps):
    shutil.copytree(ddpm, tmp_path / "ddpm")
    scheduler = ho_scheduler(num_train_timesteps=num_timesteps)
    scheduler.save_pretrained(tmp_path / "ddpm" / "scheduler")
    scheduler.set_timesteps(count)
    checkpoint = load_checkpoint(tmp_path / "ddpm")
    assert (
        checkpoint.description.num_train_timesteps == num_timesteps
        and checkpoint.diffusion.variance_type == "fixed_large"
    )
    ours = list(sample(checkpoint, Request(num_images=2, sampler="ddpm", steps=steps, seed=7, precision="fp32")))
    theirs = list(sample_with_diffusers(ddpm, scheduler, (7, 8)))
    assert [step.t for step in ours] == scheduler.timesteps.tolist() and len(ours) == count
    for step, x in zip(ours, theirs, strict=True):
        torch.testing.assert_close(step.xt, x, rtol=0, atol=1e-4)
    assert theirs[-1].std() > 0.1


def test_a_ddim_pipeline_is_sampled_as_by_its_own_scheduler_with_the_small_variance(tmp_path):
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDIMPipeline(unet=ho_network(), scheduler=scheduler).save_pretrained(tmp_path / "ddim")
    scheduler.set_timesteps(20)
    checkpoint = load_checkpoint(tmp_path / "ddim")
    assert (checkpoint.diffusion.prediction_type, checkpoint.diffusion.variance_type) == ("v_prediction", "fixed_small")
    ours = sample(checkpoint, Request(num_images=2, sampler="ddim", steps="ddim20", seed=3, precision="fp32"))
    for step, x in zip(
        ours, sample_with_diffusers(tmp_path / "ddim", scheduler, (3, 4), use_clipped_model_output=True), strict=True
    ):
        torch.testing.assert_close(step.xt, x, rtol=0, atol=1e-4)


def test_a_ddim_scheduler_converted_from_a_learned_variance_keeps_it(tmp_path):
    scheduler = DDIMScheduler.from_config(ho_scheduler(variance_type="learned_range").config)
    assert isinstance(scheduler, DDIMScheduler)
    DDIMPipeline(unet=ho_network(out_channels=6), scheduler=scheduler).save_pretrained(tmp_path / "ddim")
    assert load_checkpoint(tmp_path / "ddim").diffusion.variance_type == "learned_range"


def test_metadata_is_read_from_a_diffusers_folder(ddpm):
    metadata = load_metadata(ddpm)
    assert (metadata.image_size, metadata.channels, metadata.num_train_timesteps) == (16, 3, 100)
    assert metadata.class_names == () and not metadata.guidance and metadata.images_seen == 0


@pytest.mark.parametrize("has_index", [True, False], ids=["with model_index.json", "without"])
def test_the_old_layout_loads_as_the_same_model(ddpm, copy, has_index):
    at_the_root(copy)
    if not has_index:
        (copy / "model_index.json").unlink()
    x, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 90])
    new, old = load_checkpoint(ddpm), load_checkpoint(copy)
    assert torch.equal(new.diffusion.betas, old.diffusion.betas) and old.description == new.description
    with torch.no_grad():
        assert torch.equal(old.unet(x, t).sample, new.unet(x, t).sample)


def test_the_network_may_be_at_the_root_and_the_scheduler_in_its_folder(copy):
    for file in (copy / "unet").iterdir():
        file.rename(copy / file.name)
    (copy / "model_index.json").unlink()
    (copy / "unet").rmdir()
    assert (
        load_metadata(copy).num_train_timesteps == 100
        and load_checkpoint(copy).diffusion.variance_type == "fixed_large"
    )


def test_classes_without_names_are_numbered_and_the_null_class_is_their_mean(tmp_path):
    network = ho_network(num_class_embeds=12).eval()
    DDPMPipeline(unet=network, scheduler=ho_scheduler()).save_pretrained(tmp_path / "classes")
    checkpoint = load_checkpoint(tmp_path / "classes")
    metadata, table = checkpoint.description, checkpoint.unet.state_dict()["class_embedding.weight"]
    assert metadata.class_names == tuple(map(str, range(12))) and not metadata.guidance and metadata.null_class == 12
    original = network.state_dict()["class_embedding.weight"]
    assert torch.equal(table[:12], original)
    torch.testing.assert_close(table[12], original.mean(0))
    x, t, y = torch.randn(2, 3, 16, 16), torch.tensor([3, 90]), torch.tensor([0, 11])
    with torch.no_grad():
        torch.testing.assert_close(
            checkpoint.unet(x, t, class_labels=y).sample, network(x, t, class_labels=y).sample, rtol=0, atol=1e-5
        )
    with pytest.raises(BadInput, match="null class"):
        Request(guidance_scale=2.0).check(metadata)


def test_sample_size_may_be_a_pair(copy):
    edit(copy / "unet" / "config.json", sample_size=[16, 16])
    assert load_metadata(copy).image_size == 16


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("unet/config.json", {"sample_size": None}, "sample_size null"),
        ("unet/config.json", {"sample_size": [16, 32]}, r"sample_size \[16, 32\].*square"),
        ("unet/config.json", {"sample_size": {}}, "Cannot read the configs of"),
        ("unet/config.json", {"num_class_embeds": "ten"}, "num_class_embeds ten"),
        ("unet/config.json", {"in_channels": 4, "out_channels": 4}, "4 channels"),
        ("unet/config.json", {"out_channels": 6}, "3 input and 6 output channels.*fixed_large, set out_channels to 3"),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "fourier"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type timestep"),
        ("unet/config.json", {"block_out_channels": [32, 96]}, "damaged"),
        ("unet/config.json", {"num_class_embeds": 3}, "damaged"),
        ("unet/config.json", {"_class_name": "UNet1DModel"}, "contains UNet1DModel.*UNet2DModel"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "ScoreSdeVeScheduler"},
            "ScoreSdeVeScheduler.*DDPMScheduler",
        ),
        (
            "scheduler/scheduler_config.json",
            {"variance_type": "learned_range"},
            "3 input and 3 output channels.*learned_range, set out_channels to 6",
        ),
        (
            "model_index.json",
            {"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"]},
            "contains LDMPipeline.*in pixel space",
        ),
    ],
)
def test_an_unsupported_model_is_refused_with_the_reason(copy, file, changes, words):
    edit(copy / file, **changes)
    assert re.search(words, refusal(copy))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beta_schedule": "laplace"}, "laplace"),
        ({"prediction_type": "flow_prediction"}, "flow_prediction"),
        ({"variance_type": "learned"}, "variance_type learned .*learned_range"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr with prediction_type epsilon"),
    ],
)
def test_a_chain_that_cannot_be_reproduced_is_refused(copy, changes, words):
    edit(copy / "scheduler" / "scheduler_config.json", **changes)
    with pytest.raises(BadInput, match=words):
        load_checkpoint(copy)


def test_models_other_than_unet2dmodel_are_refused_by_name(tmp_path):
    tiny = {"block_out_channels": (32,), "norm_num_groups": 32}
    UNet2DConditionModel(down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), **tiny).save_config(
        tmp_path / "stable" / "unet"
    )
    DDPMScheduler().save_pretrained(tmp_path / "stable" / "scheduler")
    assert "contains UNet2DConditionModel" in refusal(tmp_path / "stable")
    parts = {
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "safety_checker": [None, None],
    }
    (tmp_path / "stable" / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", **parts})
    )
    assert "contains StableDiffusionPipeline" in refusal(tmp_path / "stable")
    AutoencoderKL(**tiny).save_config(tmp_path / "vae")
    assert "contains AutoencoderKL" in refusal(tmp_path / "vae")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text(
        json.dumps({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})
    )
    assert "contains GPT2LMHeadModel" in refusal(tmp_path / "text")


def test_a_network_without_a_scheduler_is_refused_and_one_in_its_pipeline_is_that_pipeline(ddpm, copy, tmp_path):
    assert load_checkpoint(ddpm / "unet").description == load_metadata(ddpm)
    (copy / "unet").rename(tmp_path / "unet")
    assert "no scheduler_config.json" in refusal(tmp_path / "unet")


def test_a_folder_with_another_config_is_not_a_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text('{"config": {}, "data": {}}')
    assert "is not a checkpoint" in refusal(tmp_path)


def test_weights_without_a_tensor_are_refused_not_initialized(copy):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_in.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "damaged" in refusal(copy)


def test_pickled_weights_are_refused_with_a_command_that_converts_them(ddpm, copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    UNet2DModel.from_pretrained(ddpm / "unet").save_pretrained(copy / "unet", safe_serialization=False)
    assert [path.suffix for path in sorted((copy / "unet").glob("*model*"))] == [".bin"]
    message = refusal(copy)
    assert "pickled" in message
    command = re.search(r'python -c "(.*)"', message)
    assert command
    exec(command[1], {})
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([50])
    with torch.no_grad():
        assert torch.equal(load_checkpoint(copy).unet(x, t).sample, load_checkpoint(ddpm).unet(x, t).sample)
