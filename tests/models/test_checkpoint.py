"""Checkpoint folders: loading with diffusers and with this package, and errors for damaged ones."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import SCHEDULES, named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import load_checkpoint, make_diffusion, make_scheduler, save_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata, checkpoint_name, checkpoints_in
from diffusion_demo.models.model_card import model_card
from diffusion_demo.models.unet import PRESETS, build_unet


def test_diffusers_loads_a_checkpoint_with_the_same_outputs(random_checkpoint, checkpoint):
    pipeline = DDPMPipeline.from_pretrained(random_checkpoint)
    generator = torch.Generator().manual_seed(1)
    x, t, y = torch.randn(2, 3, 16, 16, generator=generator), torch.tensor([5, 900]), torch.tensor([2, 3])
    with torch.no_grad():
        theirs = pipeline.unet.eval()(x, t, class_labels=y).sample
        ours = checkpoint.unet(x, t, class_labels=y).sample
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_diffusers_loads_a_trained_checkpoint_with_the_same_nonzero_outputs(trained_checkpoint):
    pipeline, ours = DDPMPipeline.from_pretrained(trained_checkpoint), load_checkpoint(trained_checkpoint)
    x, t, y = torch.ones(1, 1, 16, 16), torch.tensor([50]), torch.tensor([0])
    with torch.no_grad():
        theirs = pipeline.unet.eval()(x, t, class_labels=y).sample
        torch.testing.assert_close(ours.unet(x, t, class_labels=y).sample, theirs, rtol=0, atol=1e-5)
    assert theirs.abs().max() > 0
    assert pipeline.scheduler.config.num_train_timesteps == len(ours.diffusion) == 100


def test_loading_restores_what_was_saved(checkpoint):
    assert torch.equal(checkpoint.diffusion.betas, named_betas("squaredcos_cap_v2", 1000))
    assert (checkpoint.diffusion.prediction_type, checkpoint.diffusion.variance_type) == ("epsilon", "learned_range")
    assert checkpoint.description.class_names == ("one", "three", "two") and checkpoint.description.null_class == 3
    assert checkpoint.description.guidance and checkpoint.description.images_seen == 640
    assert not checkpoint.unet.training


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("num_timesteps", [100, 1000, 4000])
@pytest.mark.parametrize(
    ("prediction_type", "variance_type"), [("epsilon", "fixed_large"), ("v_prediction", "fixed_small")]
)
def test_every_chain_is_restored_exactly(schedule, num_timesteps, prediction_type, variance_type, tmp_path):
    diffusion = Diffusion(named_betas(schedule, num_timesteps), prediction_type, variance_type)
    save_checkpoint(
        tmp_path / "c",
        build_unet("tiny", 16, 1, learns_variance=False, num_classes=0),
        make_scheduler(schedule, diffusion),
        CheckpointMetadata(16, 1, num_timesteps),
        "",
    )
    loaded = load_checkpoint(tmp_path / "c")
    torch.testing.assert_close(loaded.diffusion.betas, diffusion.betas, rtol=1e-12, atol=0)
    assert (loaded.diffusion.prediction_type, loaded.diffusion.variance_type) == (prediction_type, variance_type)
    assert loaded.description.class_names == () and loaded.description.null_class is None
    # stock diffusers has the same chain in float32
    theirs = DDPMPipeline.from_pretrained(tmp_path / "c").scheduler
    torch.testing.assert_close(theirs.betas, diffusion.betas.float(), rtol=1e-5, atol=1e-9)


def test_a_folder_holds_safetensors_metadata_and_a_model_card(random_checkpoint, trained_checkpoint):
    for folder in (random_checkpoint, trained_checkpoint):
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {"model_index.json", "diffusion_demo.json", "README.md", "scheduler/scheduler_config.json"} <= files
        assert "unet/diffusion_pytorch_model.safetensors" in files
        assert {name.rsplit(".", 1)[-1] for name in files} == {"json", "md", "safetensors"}


def test_the_model_card_names_the_classes_and_the_command():
    metadata = CheckpointMetadata(
        16,
        1,
        100,
        ("cat", "dog"),
        guidance=True,
        images_seen=1234,
        command="python -m diffusion_demo train",
        held_out_loss=0.125,
        data={"source": "pets", "images": 9},
    )
    assert "Initialized from" not in model_card(metadata, 1_500_000, 0.5)
    assert "- Initialized from: some/model" in model_card(replace(metadata, origin="some/model"), 1, None)
    card = model_card(metadata, 1_500_000, 0.5)
    for part in ("cat, dog", "16x16", "1.50 million", "python -m diffusion_demo train", "1,234", "0.1250", "pets"):
        assert part in card


def test_metadata_keeps_unicode_class_names(tmp_path):
    metadata = CheckpointMetadata(16, 3, 100, ("кот", "犬"))
    metadata.save(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    assert load_metadata(tmp_path) == metadata


def test_checkpoints_are_found_by_name(random_checkpoint):
    assert checkpoints_in(random_checkpoint.parent) == [random_checkpoint]
    assert checkpoints_in(random_checkpoint / "unet") == []


@pytest.fixture
def damaged(random_checkpoint, tmp_path):
    shutil.copytree(random_checkpoint, tmp_path / "copy")
    return tmp_path / "copy"


def refusal(folder):
    """Return the error message for a checkpoint folder; assert that it names the folder and is one short line."""
    with pytest.raises(BadInput) as caught:
        load_checkpoint(folder)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message.replace(str(folder), "FOLDER")) < 250
    assert folder.name in message
    return message


def test_a_missing_folder_is_refused(tmp_path):
    assert "No checkpoint folder" in refusal(tmp_path / "nowhere")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    assert "is not a checkpoint" in refusal(tmp_path)


def test_weights_cut_short_are_refused(damaged):
    weights = damaged / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert "damaged" in refusal(damaged)


def test_empty_weights_are_refused(damaged):
    (damaged / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    assert "damaged" in refusal(damaged)


def test_missing_weights_are_refused(damaged):
    (damaged / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "damaged or incomplete" in refusal(damaged)


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json", "diffusion_demo.json"])
def test_damaged_json_is_refused(damaged, name):
    text = (damaged / name).read_text()
    (damaged / name).write_text(text[: len(text) // 2])
    refusal(damaged)


@pytest.mark.parametrize("content", ["[]", "{}", '{"image_size": 16}', "null", '{"class_names": null}'])
def test_metadata_of_another_structure_is_refused(damaged, content):
    (damaged / "diffusion_demo.json").write_text(content)
    refusal(damaged)


def test_weights_of_another_network_are_refused(damaged):
    config = json.loads((damaged / "unet" / "config.json").read_text())
    (damaged / "unet" / "config.json").write_text(json.dumps(config | {"block_out_channels": [32, 64, 64]}))
    refusal(damaged)


def test_an_unknown_schedule_is_named_in_the_error(damaged):
    config = json.loads((damaged / "scheduler" / "scheduler_config.json").read_text())
    (damaged / "scheduler" / "scheduler_config.json").write_text(json.dumps(config | {"beta_schedule": "laplace"}))
    with pytest.raises(BadInput, match="laplace"):
        load_checkpoint(damaged)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("image_size", [16, 32])
@pytest.mark.parametrize(("channels", "learns_variance", "num_classes"), [(1, False, 0), (3, True, 3)])
def test_a_fresh_network_outputs_zeros(preset, image_size, channels, learns_variance, num_classes):
    unet = build_unet(preset, image_size, channels, learns_variance, num_classes).eval()
    labels = {"class_labels": torch.tensor([0, num_classes])} if num_classes else {}
    with torch.no_grad():
        output = unet(torch.randn(2, channels, image_size, image_size), torch.tensor([0, 999]), **labels).sample
    assert output.shape == (2, channels * (2 if learns_variance else 1), image_size, image_size)
    assert not output.any()


def test_a_zero_initialized_network_has_gradients():
    unet = build_unet("tiny", 16, 1, False, 0)
    unet(torch.randn(2, 1, 16, 16), torch.tensor([0, 999])).sample.sum().backward()
    gradient = unet.get_parameter("conv_out.weight").grad
    assert gradient is not None and gradient.any()


@pytest.mark.parametrize(
    ("image_size", "nearest"),
    [(18, "16 and 20"), (30, "28 and 32"), (12, "16 and 20"), (8, "16 and 20"), (33, "32 and 36")],
)
def test_an_invalid_image_size_is_refused_with_the_nearest_valid_ones(image_size, nearest):
    with pytest.raises(BadInput, match=f"{image_size}.*{nearest}"):
        build_unet("tiny", image_size, 3, True, 0)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match=r"'huge'.*tiny, small, medium"):
        build_unet("huge", 32, 3, True, 0)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_round_trips_through_a_scheduler_config(name, tmp_path):
    diffusion = Diffusion(named_betas(name, 100), "v_prediction", "learned_range")
    make_scheduler(name, diffusion).save_pretrained(tmp_path)
    scheduler = DDPMScheduler.from_pretrained(tmp_path)
    assert isinstance(scheduler, DDPMScheduler)
    config = scheduler.config
    torch.testing.assert_close(make_diffusion(config).betas, diffusion.betas, rtol=1e-12, atol=0)
    assert config["beta_schedule"] == name


@pytest.mark.parametrize(
    "settings",
    [
        {"beta_schedule": "sigmoid", "beta_start": 1e-3, "beta_end": 0.03},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "linear", "beta_start": 1e-3, "beta_end": 0.03},
        {"num_train_timesteps": 3, "beta_schedule": "linear", "trained_betas": [0.1, 0.05, 0.2]},
    ],
)
def test_a_diffusers_chain_with_other_ends_round_trips(settings):
    scheduler = DDPMScheduler(**{"num_train_timesteps": 100} | settings)
    diffusion = make_diffusion(scheduler.config)
    torch.testing.assert_close(diffusion.betas.float(), scheduler.betas, rtol=1e-5, atol=1e-9)
    again = make_scheduler(settings["beta_schedule"], diffusion)
    torch.testing.assert_close(make_diffusion(again.config).betas, diffusion.betas, rtol=1e-12, atol=0)
    assert len(diffusion) == again.config["num_train_timesteps"]


def test_hidden_folders_are_not_listed(random_checkpoint, tmp_path):
    shutil.copytree(random_checkpoint, tmp_path / "good")
    shutil.copytree(random_checkpoint, tmp_path / ".half.partial")
    assert checkpoints_in(tmp_path) == [tmp_path / "good"]


def test_a_checkpoint_in_a_run_is_named_after_run_and_folder(trained_checkpoint, random_checkpoint):
    assert checkpoint_name(trained_checkpoint) == "run/step_000012"
    assert checkpoint_name(random_checkpoint) == random_checkpoint.name
    assert checkpoint_name("/model") == "model"
