"""Checkpoints whose configs ask for another network: refused in one sentence, before memory or minutes are spent."""

import json
import shutil

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.config_limits import check_network
from diffusion_demo.models.weight_files import fetch_weights

HUGE = 10**9
UNET = [
    {"block_out_channels": [HUGE, HUGE]},
    {"block_out_channels": [4096, 4096]},
    {"block_out_channels": [32] * 1000},
    {"block_out_channels": []},
    {"block_out_channels": "x"},
    {"block_out_channels": [0, 0]},
    {"block_out_channels": [-32, 64]},
    {"block_out_channels": None},
    {"layers_per_block": HUGE},
    {"layers_per_block": 60},
    {"layers_per_block": "2"},
    {"layers_per_block": None},
    {"layers_per_block": -1},
    {"in_channels": HUGE},
    {"in_channels": "3"},
    {"in_channels": 0},
    {"out_channels": 10**400},
    {"out_channels": -3},
    {"norm_num_groups": 0},
    {"norm_num_groups": 7},
    {"norm_eps": "x"},
    {"num_class_embeds": HUGE},
    {"num_class_embeds": 900_000},
    {"num_class_embeds": -1},
    {"down_block_types": ["NoSuchBlock", "NoSuchBlock"]},
    {"down_block_types": [5]},
    {"down_block_types": []},
    {"up_block_types": ["AttnUpBlock2D"] * 1000},
    {"attention_head_dim": 0},
    {"attention_head_dim": HUGE},
    {"act_fn": "os.system"},
    {"act_fn": 5},
    {"time_embedding_dim": HUGE},
    {"time_embedding_dim": 100_000},
]
SCHEDULER = [
    {"num_train_timesteps": 10**12},
    {"num_train_timesteps": 0},
    {"num_train_timesteps": "1000"},
    {"num_train_timesteps": None},
    {"trained_betas": [0.1] * 200_000},
    {"trained_betas": "x"},
    {"trained_betas": [2.0]},
    {"beta_schedule": "no such"},
    {"beta_schedule": 5},
    {"prediction_type": "x"},
    {"variance_type": 5},
    {"beta_start": "x", "beta_schedule": "linear"},
]
WHOLE = [b"", b"{", b"[]", b"null", b"5", b"[" * 100_000, b"\xff\xfe", b"\x00"]


def change(file, changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def folder(random_checkpoint, tmp_path):
    shutil.copytree(random_checkpoint, tmp_path / "model")
    return tmp_path / "model"


def refused(folder) -> None:
    with pytest.raises(BadInput) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.timeout(60)
@pytest.mark.parametrize("changes", UNET)
def test_a_network_that_is_not_that_of_the_weights_is_refused(folder, changes):
    change(folder / "unet" / "config.json", changes)
    refused(folder)


@pytest.mark.parametrize("width", [64, 256])
def test_a_network_of_more_or_fewer_parameters_is_refused_before_it_gets_memory(folder, width):
    change(folder / "unet" / "config.json", {"time_embedding_dim": width})
    with pytest.raises(ValueError, match="belong to another network"):
        check_network(UNet2DModel, folder / "unet", fetch_weights(folder, folder, folder / "unet"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("changes", SCHEDULER)
def test_a_chain_that_cannot_be_is_refused(folder, changes):
    change(folder / "scheduler" / "scheduler_config.json", changes)
    refused(folder)


@pytest.mark.parametrize("content", WHOLE)
@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json", "diffusion_demo.json"])
def test_a_damaged_file_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 8 + b"{}", (2**40).to_bytes(8, "little") + b"{}"])
def test_damaged_weights_are_refused(folder, content):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(content)
    refused(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_weights_that_are_no_plain_numbers_are_refused_instead_of_cast(folder, dtype):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)
    with pytest.raises(BadInput, match=r"of type \w+, which is not supported. Use the original weights"):
        load_checkpoint(folder)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_other_precisions_are_read(folder, dtype):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)
    assert next(load_checkpoint(folder).unet.parameters()).dtype == torch.float32
