"""The layouts in which people keep checkpoints: read as the same model, or refused with what to do."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.export import export
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training.run_folder import resolve_checkpoint
from tests.models.ho import refusal

FILE = "diffusion_pytorch_model.safetensors"


def rewrite(folder, **options):
    """Save the network again with other options of save_pretrained, and nothing else beside it."""
    unet = UNet2DModel.from_pretrained(folder / "unet")
    if options.get("variant"):
        unet = unet.half()
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet", **options)
    return folder


def prediction(checkpoint):
    x, t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([50])
    with torch.no_grad():
        return checkpoint.unet(x, t).sample


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"variant": "fp16"}, 1e-2),
        ({"max_shard_size": "200KB"}, 1e-5),
        ({"variant": "fp16", "max_shard_size": "80KB"}, 1e-2),
    ],
    ids=str,
)
def test_variants_and_shards_are_read_in_float32(ddpm, copy, options, tolerance):
    rewrite(copy, **options)
    assert not (copy / "unet" / FILE).exists()
    loaded = load_checkpoint(copy)
    assert {parameter.dtype for parameter in loaded.unet.parameters()} == {torch.float32} and loaded.weights
    torch.testing.assert_close(prediction(loaded), prediction(load_checkpoint(ddpm)), rtol=0, atol=tolerance)


def test_the_full_weights_come_before_a_variant(ddpm, copy):
    half = UNet2DModel.from_pretrained(ddpm / "unet").half()
    half.save_pretrained(copy / "unet", variant="fp16")
    assert load_checkpoint(copy).weights == load_checkpoint(ddpm).weights


def test_every_shard_counts_for_the_digest_of_the_weights(copy):
    rewrite(copy, max_shard_size="200KB")
    shards = sorted((copy / "unet").glob("*.safetensors"))
    digests = {load_checkpoint(copy).weights}
    for shard in shards:
        save_file({name: tensor + 1 for name, tensor in load_file(shard).items()}, shard, {"format": "pt"})
        digests.add(load_checkpoint(copy).weights)
    assert len(digests) == len(shards) + 1 > 2


def test_a_missing_shard_and_an_index_that_leads_elsewhere_are_refused(copy):
    index = rewrite(copy, max_shard_size="200KB") / "unet" / f"{FILE}.index.json"
    shard = sorted((copy / "unet").glob("*-00002-of-*"))[0]
    shard.rename(copy / "elsewhere.safetensors")
    assert f"{shard.name} is missing" in refusal(copy)
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": "../elsewhere.safetensors"}}))
    assert "is damaged" in refusal(copy)


def test_half_precision_pickled_weights_are_refused_with_a_command_that_converts_them(ddpm, copy):
    half = UNet2DModel.from_pretrained(ddpm / "unet").half()
    shutil.rmtree(copy / "unet")
    half.save_pretrained(copy / "unet", variant="fp16", safe_serialization=False)
    command = re.search(r'python -c "(.*)"', refusal(copy))
    assert command
    exec(command[1], {})
    torch.testing.assert_close(prediction(load_checkpoint(copy)), prediction(load_checkpoint(ddpm)), rtol=0, atol=1e-2)


def test_weights_of_another_name_are_refused_with_both_names(copy):
    (copy / "unet" / FILE).rename(copy / "unet" / "model.safetensors")
    assert f"model.safetensors but no {FILE}" in refusal(copy)


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "adapter_model.safetensors"])
def test_a_folder_with_only_a_lora_is_said_to_be_one(name, copy):
    save_file({"conv_in.lora_A.weight": torch.zeros(1)}, copy / "unet" / name, {"format": "pt"})
    load_checkpoint(copy)  # beside the weights it does no harm
    (copy / "unet" / FILE).unlink()
    assert f"has only a LoRA ({name}), which is not supported" in refusal(copy)


def test_a_training_folder_with_averaged_weights_asks_which_and_both_answers_work(ddpm, copy, tmp_path):
    """The checkpoint-N folders of diffusers' train_unconditional.py hold unet/ and unet_ema/ and no scheduler."""
    step = copy / "checkpoint-500"
    shutil.copytree(copy / "unet", step / "unet")
    shutil.copytree(copy / "unet", step / "unet_ema")
    config = json.loads((step / "unet_ema" / "config.json").read_text())
    (step / "unet_ema" / "config.json").write_text(json.dumps(config | {"decay": 0.9999, "optimization_step": 500}))
    message = refusal(step)
    answers = re.findall(r"\S+/unet\w*", message)
    assert [Path(answer).name for answer in answers] == ["unet_ema", "unet"]
    for answer in answers:
        assert load_checkpoint(answer.rstrip(".")).weights == load_checkpoint(ddpm).weights


@pytest.mark.parametrize("spelling", ["{}", "'{}'", '"{}"', " {} ", "file://{}", "{}/unet", "{}/unet/" + FILE])
def test_a_pasted_path_is_understood(random_checkpoint, tmp_path, spelling):
    folder = tmp_path / "my model"
    shutil.copytree(random_checkpoint, folder)
    text = spelling.format(str(folder).replace(" ", "%20") if "file" in spelling else folder)
    assert load_metadata(text) == load_metadata(random_checkpoint) == load_metadata(resolve_checkpoint(text))
    assert load_checkpoint(text).weights == load_checkpoint(random_checkpoint).weights


def test_a_hub_address_is_the_name_of_its_model(tmp_path, monkeypatch, ddpm):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ddpm, tmp_path / "owner" / "model")  # a folder of that name, found without the Hub
    for address in (
        "https://huggingface.co/owner/model",
        "huggingface.co/owner/model/tree/main",
        "hf.co/owner/model",
    ):
        assert resolve_checkpoint(address) == Path("owner/model")
        assert load_metadata(address) == load_metadata(ddpm)


@pytest.mark.parametrize(
    ("name", "words"),
    [("weights.safetensors", "weights alone"), ("model.pt", "diffusion_demo import"), ("notes.txt", "is a file")],
)
def test_a_file_that_is_no_checkpoint_is_refused_with_what_to_do(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x")
    assert words in refusal(tmp_path / name)


def test_no_path_of_this_machine_is_saved(checkpoint, random_checkpoint, tmp_path):
    assert checkpoint.unet.config["_name_or_path"]
    export(checkpoint, "model", tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            assert str(random_checkpoint).encode() not in file.read_bytes(), file


def test_bundled_checkpoints_hold_no_path_of_the_machine_that_trained_them():
    configs = list((Path(__file__).parents[2] / "checkpoints").glob("*/*/config.json"))
    assert configs and not [file for file in configs if "_name_or_path" in json.loads(file.read_text())]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_place_of_the_weights_is_reported_and_not_read(random_checkpoint, tmp_path, make):
    copy = Path(shutil.copytree(random_checkpoint, tmp_path / "copy"))
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    make(weights)
    with pytest.raises(BadInput, match=r"diffusion_pytorch_model.safetensors is missing"):
        load_checkpoint(copy)


@pytest.mark.parametrize("change", [{"channels": 1}, {"num_train_timesteps": 7}])
def test_metadata_of_another_model_are_reported_as_damaged(random_checkpoint, tmp_path, change):
    copy = Path(shutil.copytree(random_checkpoint, tmp_path / "copy"))
    metadata = json.loads((copy / "diffusion_demo.json").read_text())
    (copy / "diffusion_demo.json").write_text(json.dumps(metadata | change))
    with pytest.raises(BadInput, match=r"diffusion_demo.json is damaged: it says \d input channels"):
        load_checkpoint(copy)
