"""Initial models: checkpoints adapted to other classes, channels and image sizes, and the cases that are refused."""

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file, save_file

from diffusion_demo import data
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from diffusion_demo.models.classifier import Classifier, trunk_config
from diffusion_demo.models.classifier_heads import POOLS
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.training import initialize
from diffusion_demo.training.config import TrainConfig, config_with_inherited
from diffusion_demo.training.inherited_settings import inherit
from diffusion_demo.training.initialize import adapt_classifier_to_data, adapt_to_data, load_or_build
from diffusion_demo.training.state import load_state, save_state
from diffusion_demo.training.trainer import make_average
from tests.training.events import latest_checkpoint, unet_config

TABLE = "class_embedding.weight"


def config(**settings):
    return TrainConfig(**{"data": "images", "image_size": 16} | settings)


def small_unet(**settings):
    """Return a small network of three levels with random weights in every layer."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "block_out_channels": (16, 32, 32),
        "norm_num_groups": 8,
        "layers_per_block": 1,
        "sample_size": 16,
    }
    blocks: dict[str, Any] = {"down_block_types": ("DownBlock2D",) * 3, "up_block_types": ("UpBlock2D",) * 3}
    return UNet2DModel(**shape | blocks | settings)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A color model without classes and with fixed variance, as diffusers writes it."""
    folder = tmp_path_factory.mktemp("plain") / "plain"
    DDPMPipeline(
        unet=small_unet(), scheduler=DDPMScheduler(variance_type="fixed_large", num_train_timesteps=100)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    """Our grayscale model with learned variance, two classes and a null class."""
    folder = tmp_path_factory.mktemp("gray") / "gray"
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", num_train_timesteps=100)
    description = CheckpointMetadata(16, 1, 100, ("cat", "dog"), guidance=True, images_seen=40)
    save_checkpoint(folder, small_unet(in_channels=1, out_channels=2, num_class_embeds=3), scheduler, description, "")
    return folder


def answer(unet, channels=3, size=16, labels=None):
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(2, 1, size, size, generator=generator).repeat(1, channels, 1, 1), torch.tensor([3, 90])
    with torch.no_grad():
        return (
            unet.eval()
            .to(memory_format=torch.channels_last)(x, t, class_labels=None if labels is None else torch.tensor(labels))
            .sample
        )


def refusal(**given):
    with pytest.raises(BadInput) as caught:
        TrainConfig(**inherit({"data": "images"} | given))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


# classes


def test_classes_of_the_same_name_keep_their_rows_and_the_others_start_as_the_null_class(checkpoint):
    found = adapt_to_data(checkpoint, config(), ("cat", "one", "two"), "random")
    old, new = checkpoint.unet.state_dict()[TABLE], found.unet.state_dict()[TABLE]
    assert torch.equal(new, old[[3, 0, 2, 3]]) and unet_config(found)["num_class_embeds"] == 4
    assert (
        found.description.class_names == ("cat", "one", "two")
        and found.description.origin == "random; new classes: cat"
    )
    for name, value in checkpoint.unet.state_dict().items():
        assert name == TABLE or torch.equal(value, found.unet.state_dict()[name])


def test_without_a_trained_null_class_the_mean_of_the_rows_stands_in_for_it(checkpoint):
    source = replace(checkpoint, description=replace(checkpoint.description, guidance=False))
    old = source.unet.state_dict()[TABLE]
    for names, rows in ((("cat", "two"), 3), (("one", "three", "two"), 4)):
        new = adapt_to_data(source, config(), names).unet.state_dict()[TABLE]
        assert len(new) == rows
        torch.testing.assert_close(new[-1], old[:3].mean(0))
        assert names == ("cat", "two") or torch.equal(new[:3], old[:3])
    assert torch.equal(adapt_to_data(source, config(), ("cat", "two")).unet.state_dict()[TABLE][1], old[2])


def test_the_same_classes_leave_the_network_as_it_is(checkpoint):
    found = adapt_to_data(checkpoint, config(), ("one", "three", "two"), "random")
    assert found.unet is checkpoint.unet and found.description.origin == "random"


def test_titles_stay_with_their_classes(checkpoint):
    source = replace(checkpoint, description=replace(checkpoint.description, titles={"one": "a one", "two": "a two"}))
    assert adapt_to_data(source, config(), ("cat", "two")).description.titles == {"two": "a two"}


def test_a_table_for_a_source_without_classes_starts_at_zero_so_that_it_answers_exactly_as_before(plain):
    source = load_checkpoint(plain)
    found = adapt_to_data(source, config(), ("cat", "dog"), "plain")
    assert unet_config(found)["num_class_embeds"] == 3 and not found.unet.state_dict()[TABLE].any()
    for labels in ([0, 1], [2, 2]):
        assert torch.equal(answer(found.unet, labels=labels), answer(source.unet))
    assert answer(source.unet).std() > 0.01 and found.description.origin == "plain; class embedding initialized to zero"


def test_of_images_without_classes_comes_a_model_without_them_that_begins_as_the_null_class(
    checkpoint, random_checkpoint, digits
):
    found = load_or_build(config(init_from=str(random_checkpoint)), None, data.scan(digits / "one"), "train")
    assert (
        found.description.class_names == ()
        and not found.description.guidance
        and "only the null class" in found.description.origin
    )
    assert unet_config(found)["num_class_embeds"] is None
    torch.testing.assert_close(answer(found.unet), answer(checkpoint.unet, labels=[3, 3]), rtol=1e-4, atol=2e-5)
    assert (answer(found.unet) - answer(checkpoint.unet, labels=[0, 0])).abs().max() > 1e-3


def test_a_fresh_start_has_the_classes_of_the_data_and_no_origin(digits):
    found = load_or_build(config(preset="tiny"), None, data.scan(digits), "the command")
    assert found.description == replace(
        found.description, class_names=("one", "three", "two"), guidance=True, origin="", command="the command"
    )
    assert unet_config(found)["num_class_embeds"] == 4 and found.diffusion.learns_variance
    assert not load_or_build(config(preset="tiny", label_dropout=0.0), None, data.scan(digits), "").description.guidance


# learning rate and warm-up


def test_fine_tuning_has_a_learning_rate_and_a_warm_up_of_its_own_where_none_are_given(plain):
    tuned = config_with_inherited({"data": "images", "init_from": str(plain)})
    assert (tuned.learning_rate, tuned.warmup_steps) == (3e-4, 50)
    new = TrainConfig(data="images")
    given = {"learning_rate": new.learning_rate, "warmup_steps": new.warmup_steps}
    tuned = config_with_inherited({"data": "images", "init_from": str(plain)} | given)
    assert {name: getattr(tuned, name) for name in given} == given


# color and size


def test_a_network_takes_another_size_that_its_levels_divide(plain):
    given = TrainConfig(**inherit({"data": "images", "init_from": str(plain), "image_size": 24}))
    found = adapt_to_data(load_checkpoint(plain), given, (), "it")
    assert (given.image_size, found.description.image_size, unet_config(found)["sample_size"]) == (24, 24, 24)
    assert (
        answer(found.unet, size=24).shape == (2, 3, 24, 24)
        and found.description.origin == "it; image size changed from 16 to 24 pixels"
    )
    assert torch.equal(answer(found.unet), answer(load_checkpoint(plain).unet))


def test_a_size_that_the_levels_do_not_divide_is_refused_with_the_nearest_that_they_do(plain):
    assert (
        refusal(init_from=str(plain), image_size=22)
        == "An image size of 22 does not fit 3 levels. The nearest valid sizes are 20 and 24."
    )


def test_the_sources_own_size_is_never_refused(tmp_path):
    deep = {
        "block_out_channels": (16,) * 4,
        "down_block_types": ("DownBlock2D",) * 4,
        "up_block_types": ("UpBlock2D",) * 4,
    }
    unet = small_unet(**deep)
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(tmp_path / "deep")
    assert inherit({"data": "images", "init_from": str(tmp_path / "deep")})["image_size"] == 16


def test_a_grayscale_network_in_color_answers_the_same_in_every_channel(gray):
    given = TrainConfig(**inherit({"data": "images", "init_from": str(gray), "channels": 3}))
    source = load_checkpoint(gray)
    found = adapt_to_data(source, given, ("cat", "dog"), "gray")
    before, after = answer(source.unet, 1, labels=[0, 2]), answer(found.unet, 3, labels=[0, 2])
    assert (
        after.shape == (2, 6, 16, 16)
        and found.description.channels == 3
        and found.description.origin == "gray; converted from grayscale to color"
    )
    torch.testing.assert_close(after, before.repeat_interleave(3, dim=1), rtol=0, atol=1e-5)
    assert before.std() > 0.01


def test_what_is_not_said_comes_from_the_source(gray, plain):
    given = inherit({"data": "images", "init_from": str(gray)})
    assert (given["channels"], given["image_size"], given["variance_type"]) == (1, 16, "learned_range")
    given = TrainConfig(**inherit({"data": "images", "init_from": str(plain)}))
    assert (given.channels, given.variance_type, given.loss, given.beta_schedule) == (
        3,
        "fixed_large",
        "hybrid",
        "linear",
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"channels": 1}, "keep 3 channels"),
        ({"channels": 2}, "Channels must be one of 1, 3"),
        ({"preset": "tiny"}, "leave out --preset"),
        ({"num_train_timesteps": 1000}, "has num train timesteps 100; leave out --num-train-timesteps"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "has beta schedule linear"),
        ({"prediction_type": "v_prediction"}, "has prediction type epsilon"),
        ({"variance_type": "learned_range"}, "has variance type fixed_large"),
        ({"init_from": "oracle-memory"}, "has no weights"),
    ],
)
def test_what_the_source_contradicts_is_refused(plain, given, words):
    assert words in refusal(**{"init_from": str(plain)} | given)


# whole runs


@pytest.fixture
def run(command, tmp_path):
    def train(*arguments):
        options = [
            "--batch-size",
            4,
            "--precision",
            "fp32",
            "--ema-decays",
            "0",
            "--learning-rate",
            "1e-3",
            "--warmup-steps",
            0,
        ]
        done = command("train", "--run", "run", *options, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return latest_checkpoint(tmp_path / "run")

    return train


def test_a_diffusers_model_learns_classes_and_is_saved_and_sampled_as_one_of_ours(
    plain, digits, run, command, tmp_path
):
    latest = run("--data", digits, "--init-from", plain, "--max-steps", 2)
    found = load_checkpoint(latest)
    assert (
        found.description == load_metadata(latest)
        and found.description.class_names == ("one", "three", "two")
        and found.description.guidance
    )
    assert (found.diffusion.variance_type, len(found.diffusion), found.beta_schedule) == ("fixed_large", 100, "linear")
    assert torch.equal(found.diffusion.betas, load_checkpoint(plain).diffusion.betas)
    assert found.unet.state_dict()[TABLE].abs().sum(1).count_nonzero() >= 2  # the embedding was initialized to zero
    assert "Initialized from: plain; class embedding initialized to zero" in (latest / "README.md").read_text()
    assert DDPMPipeline.from_pretrained(latest).unet.config.num_class_embeds == 4
    words = ["--num-images", 1, "--class", "two", "--guidance-scale", 2, "--steps", 2, "--out", "out"]
    done = command("sample", "--checkpoint", latest, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_images_without_classes_make_a_model_without_them_and_the_run_is_resumed_as_it_began(gray, digits, run):
    words = ["--data", digits / "one", "--init-from", gray, "--image-size", 20, "--channels", 3]
    for steps, arguments in ((1, words), (2, ["--resume"])):
        description = load_checkpoint(run(*arguments, "--max-steps", steps)).description
        assert description.class_names == () and not description.guidance
        assert (description.image_size, description.channels, description.steps, description.images_seen) == (
            20,
            3,
            steps,
            40 + 4 * steps,
        )
        assert description.origin.startswith(
            "gray; converted from grayscale to color; image size changed from 16 to 20 pixels; only the null class kept"
        )


@pytest.mark.parametrize("source", [None, "random_checkpoint"])
def test_the_model_keeps_how_its_images_are_prepared(digits, source, request):
    prepared = {"fit": "pad", "background": "#102030", "class_from": "file_name"}
    start = {"init_from": str(request.getfixturevalue(source)), "channels": 3} if source else {"preset": "tiny"}
    report = data.scan(digits)
    description = load_or_build(config(**start, **prepared), None, report, "").description
    assert {name: getattr(description, name) for name in prepared} == prepared


@pytest.mark.parametrize(
    ("own", "asked", "scale", "trained_with"),
    [
        (0.0, None, 1, 0.3),
        (0.0, None, 10, 0.1),
        (0.0, 0.0, 1, 0.0),
        (0.2, None, 1, 0.2),
        (0.0, None, 1000, 0.0),
    ],
)
def test_a_network_without_dropout_gets_some_where_there_are_few_images(
    plain, digits, tmp_path, monkeypatch, own, asked, scale, trained_with
):
    bounds = tuple((bound // scale, dropout) for bound, dropout in initialize.FINE_TUNING_DROPOUT)
    monkeypatch.setattr(initialize, "FINE_TUNING_DROPOUT", bounds)
    report, folder = data.scan(digits), shutil.copytree(plain, tmp_path / "plain")
    DDPMPipeline(unet=small_unet(dropout=own), scheduler=DDPMScheduler(num_train_timesteps=100)).save_pretrained(folder)
    found = load_or_build(config(init_from=str(folder), dropout=asked), None, report, "")
    assert unet_config(found)["dropout"] == trained_with
    assert ("dropout" in found.description.origin) == (own == 0 and asked is None and trained_with > 0)
    latest = load_or_build(config(dropout=asked), folder, report, "")
    assert unet_config(latest)["dropout"] == own, "a run that goes on keeps the network that it began with"


# classifiers and upsamplers


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "cow", "dog")], ids=["same classes", "another class"])
def test_a_classifier_keeps_its_kind_of_head_when_only_its_dropout_changes(pool, names):
    torch.manual_seed(0)
    trunk = dict(trunk_config(small_unet(in_channels=1, block_out_channels=(32, 32, 64), norm_num_groups=32)))
    classifier = Classifier(trunk=trunk, class_names=["cat", "dog"], pool=pool, head_channels=16).eval()
    description = CheckpointMetadata(16, 1, 100, ("cat", "dog"), task="classifier", images_seen=40)
    source = Checkpoint(classifier, Diffusion(named_betas("linear", 1000)), description, "linear")
    found = adapt_to(source, names, dropout=0.2).unet.eval()
    assert isinstance(found, Classifier)
    assert (found.config["pool"], found.config["head_channels"]) == (pool, 16)
    assert found.config["trunk"]["dropout"] == 0.2
    old, new = classifier.state_dict(), found.state_dict()
    kept = [name for name in old if names == ("cat", "dog") or not name.startswith(("head", "norm"))]
    assert kept and all(torch.equal(old[name], new[name]) for name in kept)


def adapt_to(source, names, **settings):
    return adapt_classifier_to_data(source, config(channels=1, task="classifier", **settings), names, "a classifier")


def test_an_upsampler_of_another_factor_is_refused(plain):
    source = load_checkpoint(plain)
    other = replace(source, description=replace(source.description, task="upsampler", small_size=4))
    with pytest.raises(BadInput, match=r"enlarges 4x, but only 2x upsamplers can be trained"):
        adapt_to_data(other, config(task="upsampler"), ())
    unknown = replace(source, description=replace(source.description, task="upsampler", small_size=None))
    with pytest.raises(BadInput, match=r"input images is unknown, .* Import it again with --small-size"):
        adapt_to_data(unknown, config(task="upsampler"), ())


@pytest.mark.parametrize("wrapper", ["_orig_mod.", ""])
def test_a_state_that_was_saved_with_the_names_of_torch_compile_is_loaded(tmp_path, wrapper):
    unet, compiled = small_unet(), small_unet()
    for parameter in compiled.parameters():
        parameter.data.add_(1)
    state = tmp_path / "state"
    averages = {0.9: make_average(compiled, 0.9, True)}
    optimizer = torch.optim.AdamW(compiled.parameters())
    save_state(state, compiled, optimizer, averages, None, {"step": 3, "initial_images": 0})
    weights = load_file(state / "weights.safetensors")
    save_file({wrapper + name: weight for name, weight in weights.items()}, state / "weights.safetensors")
    load_state(state, unet, torch.optim.AdamW(unet.parameters()), {0.9: make_average(unet, 0.9, True)}, None)
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), compiled.parameters(), strict=True))
