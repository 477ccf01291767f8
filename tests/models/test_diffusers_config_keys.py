"""Every key of diffusers' configs: the images of diffusers' own pipeline where it is honored, else refused by name."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.diffusers_config_keys import KEPT, NETWORK_KEYS, SCHEDULER_KEYS, markdown_table
from diffusion_demo.models.export import export
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from tests.models.ho import ho_network, refusal

SEEDS, STEPS = (5, 6), 8
V = {"prediction_type": "v_prediction"}
HONORED_BY_DDPM = [
    {"num_train_timesteps": 12},
    {"beta_start": 0.01, "beta_end": 0.5},
    {"beta_schedule": "scaled_linear"},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "sigmoid"},
    {"trained_betas": [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]},
    {"variance_type": "fixed_small"},
    {"variance_type": "fixed_small_log"},
    {"variance_type": "fixed_large"},
    {"variance_type": "learned_range"},
    {"prediction_type": "sample"},
    V,
    {"clip_sample": False},
    {"clip_sample_range": 0.4},
    {"clip_sample_range": 2.5},
    {"clip_sample": False, "clip_sample_range": 0.4},
    {"rescale_betas_zero_snr": True} | V,
    {"dynamic_thresholding_ratio": 0.5, "sample_max_value": 3.0},
    {"timestep_spacing": "trailing"},
    {"timestep_spacing": "linspace"},
]
HONORED_BY_DDIM = [
    {},
    {"clip_sample": False},
    {"clip_sample_range": 0.4},
    {"rescale_betas_zero_snr": True} | V,
    {"trained_betas": [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]},
    {"beta_schedule": "squaredcos_cap_v2", "set_alpha_to_one": True},
]
HONORED_BY_THE_NETWORK = [
    {"sample_size": (16, 16)},
    {"sample_size": 8},
    {"in_channels": 1, "out_channels": 1},
    {"center_input_sample": True},
    {"time_embedding_type": "learned", "num_train_timesteps": STEPS},
    {"time_embedding_dim": 48},
    {"freq_shift": 0},
    {"flip_sin_to_cos": True},
    {"down_block_types": ("ResnetDownsampleBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D")},
    {"mid_block_type": None},
    {"block_out_channels": (64, 32)},
    {"layers_per_block": 2},
    {"mid_block_scale_factor": 2},
    {"downsample_padding": 1},
    {"downsample_type": "resnet", "down_block_types": ("AttnDownBlock2D", "AttnDownBlock2D")},
    {"upsample_type": "resnet", "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D")},
    {"dropout": 0.5},
    {"act_fn": "gelu"},
    {"attention_head_dim": 8},
    {"norm_num_groups": 8},
    {"attn_norm_num_groups": 8},
    {"norm_eps": 0.1},
    {"resnet_time_scale_shift": "scale_shift"},
    {"add_attention": False},
]
REFUSED = [
    ("scheduler", {"thresholding": True}),
    ("scheduler", {"set_alpha_to_one": False}),
    ("scheduler", {"variance_type": "fixed_large_log"}),
    ("scheduler", {"variance_type": "learned"}),
    ("scheduler", {"beta_schedule": "laplace"}),
    ("scheduler", {"beta_schedule": ["linear"]}),
    ("scheduler", {"prediction_type": "flow"}),
    ("scheduler", {"rescale_betas_zero_snr": True}),
    ("scheduler", {"trained_betas": [0.1, 0.2]}),
    ("scheduler", {"trained_betas": [0.1, "x"]}),
    ("scheduler", {"num_train_timesteps": 10**12}),
    ("scheduler", {"num_train_timesteps": True}),
    ("scheduler", {"beta_start": float("nan")}),
    ("scheduler", {"beta_end": 2}),
    ("scheduler", {"clip_sample": 1}),
    ("scheduler", {"clip_sample_range": None}),
    ("scheduler", {"clip_sample_range": -1}),
    ("scheduler", {"predict_epsilon": False, "prediction_type": "epsilon"}),
    ("unet", {"time_embedding_type": "fourier"}),
    ("unet", {"class_embed_type": "identity"}),
    ("unet", {"sample_size": 17}),
    ("unet", {"sample_size": 10**9}),
    ("unet", {"in_channels": 10**9}),
    ("unet", {"block_out_channels": [10**6, 10**6]}),
    ("unet", {"layers_per_block": 10**7}),
    ("unet", {"num_class_embeds": 10**10}),
    ("unet", {"norm_num_groups": 0}),
    ("unet", {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}),
    ("unet", {"act_fn": "nothing"}),
    ("unet", {"freq_shift": None}),
]


def write(folder, scheduler, pipeline: Any = DDPMPipeline, **network):
    """Write a pipeline whose predictions leave [-1, 1], so that clipping matters."""
    if scheduler.config.get("variance_type") == "learned_range":
        network = {"out_channels": 6} | network
    unet = ho_network(**network).eval()
    with torch.no_grad():
        unet.get_parameter("conv_out.weight").mul_(3)
    pipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)
    return folder


@torch.no_grad()
def diffusers_images(folder, pipeline: Any = DDPMPipeline, **options):
    loaded = pipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    steps = loaded.scheduler.config["num_train_timesteps"]
    noise = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    images, *_ = loaded(2, noise, num_inference_steps=steps, output_type="np", return_dict=False, **options)
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def our_images(folder, sampler="ddpm"):
    checkpoint = load_checkpoint(folder)
    steps = len(checkpoint.diffusion)
    xt = last_step(sample(checkpoint, Request(2, sampler, steps, eta=0.0, seed=SEEDS[0], precision="fp32"))).xt
    return (xt / 2 + 0.5).clamp(0, 1)


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    assert theirs.std() > 0.05


def export_again(folder, out):
    export(load_checkpoint(folder), "model", out)
    return json.loads((out / "scheduler" / "scheduler_config.json").read_text())


@pytest.mark.parametrize("settings", HONORED_BY_DDPM, ids=str)
def test_a_ddpm_scheduler_is_sampled_and_exported_as_diffusers_samples_it(settings, tmp_path):
    scheduler = DDPMScheduler(**{"num_train_timesteps": STEPS, "beta_end": 0.5} | settings)
    folder = write(tmp_path / "ddpm", scheduler)
    theirs = diffusers_images(folder)
    assert_same(our_images(folder), theirs)
    written = export_again(folder, tmp_path / "out")
    assert_same(diffusers_images(tmp_path / "out"), theirs)
    assert_same(our_images(tmp_path / "out"), theirs)
    kept = [key for key, entry in SCHEDULER_KEYS.items() if entry.treatment == KEPT]
    assert {key: written[key] for key in kept} == {key: scheduler.config[key] for key in kept}
    assert written["clip_sample"] == scheduler.config["clip_sample"]


@pytest.mark.parametrize("settings", HONORED_BY_DDIM, ids=str)
def test_a_ddim_scheduler_is_sampled_and_exported_as_diffusers_samples_it(settings, tmp_path):
    scheduler = DDIMScheduler(**{"num_train_timesteps": STEPS, "beta_end": 0.5} | settings)
    folder = write(tmp_path / "ddim", scheduler, DDIMPipeline)
    theirs = diffusers_images(folder, DDIMPipeline, use_clipped_model_output=True)
    assert_same(our_images(folder, "ddim"), theirs)
    assert export_again(folder, tmp_path / "out")["_class_name"] == "DDIMScheduler"
    assert_same(diffusers_images(tmp_path / "out", DDIMPipeline, use_clipped_model_output=True), theirs)


@pytest.mark.parametrize("settings", HONORED_BY_THE_NETWORK, ids=str)
def test_a_network_is_sampled_and_exported_as_diffusers_samples_it(settings, tmp_path):
    scheduler = DDPMScheduler(num_train_timesteps=STEPS, beta_end=0.5, clip_sample=False)
    folder = write(tmp_path / "ddpm", scheduler, **settings)
    theirs = diffusers_images(folder)
    assert_same(our_images(folder), theirs)
    export_again(folder, tmp_path / "out")
    assert_same(diffusers_images(tmp_path / "out"), theirs)


def test_clipping_is_that_of_the_scheduler_for_every_sampler(tmp_path):
    plain, clipped = (
        write(tmp_path / str(clips), DDPMScheduler(num_train_timesteps=STEPS, beta_end=0.5, clip_sample=clips))
        for clips in (False, True)
    )
    for sampler in ("ddpm", "ddim", "dpm_solver"):
        request = Request(2, sampler, 6, precision="fp32")
        reach = [last_step(sample(load_checkpoint(folder), request)).x0.abs().max() for folder in (plain, clipped)]
        assert reach[0] > 1.1 and reach[1] <= 1 + 1e-6, (sampler, reach)


def test_the_old_predict_epsilon_false_means_that_x0_is_predicted(tmp_path):
    folder = write(tmp_path / "new", DDPMScheduler(num_train_timesteps=STEPS, prediction_type="sample"))
    theirs, file = diffusers_images(folder), folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    del config["prediction_type"]
    file.write_text(json.dumps(config | {"predict_epsilon": False}))
    assert_same(our_images(folder), theirs)


@pytest.mark.parametrize(("part", "changes"), REFUSED, ids=str)
def test_what_cannot_be_reproduced_is_refused_by_name_before_anything_is_built(part, changes, tmp_path):
    folder = write(tmp_path / "ddpm", DDPMScheduler(num_train_timesteps=STEPS))
    file = next((folder / part).glob("*config.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    message = refusal(folder)
    key = next(iter(changes))
    assert key in message or "Cannot build the network" in message or "channels" in message


@pytest.mark.parametrize(
    ("kind", "keys"), [(DDPMScheduler, SCHEDULER_KEYS), (DDIMScheduler, SCHEDULER_KEYS), (UNet2DModel, NETWORK_KEYS)]
)
def test_every_key_of_the_installed_diffusers_is_listed_with_its_default(kind, keys):
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        assert keys[name].default == parameter.default, name


def test_every_listed_key_is_tried():
    tried = [*HONORED_BY_DDPM, *HONORED_BY_DDIM, *(changes for part, changes in REFUSED if part == "scheduler")]
    assert {key for settings in tried for key in settings} | {"steps_offset"} == SCHEDULER_KEYS.keys()
    tried = [*HONORED_BY_THE_NETWORK, *(changes for part, changes in REFUSED if part == "unet")]
    assert {key for settings in tried for key in settings} == NETWORK_KEYS.keys()


def test_the_docs_hold_the_tables():
    text = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    assert markdown_table(SCHEDULER_KEYS) in text and markdown_table(NETWORK_KEYS) in text


def test_metadata_is_refused_like_the_checkpoint(tmp_path):
    folder = write(tmp_path / "ddpm", DDPMScheduler(num_train_timesteps=STEPS, thresholding=True))
    with pytest.raises(BadInput, match="thresholding true"):
        load_metadata(folder)
