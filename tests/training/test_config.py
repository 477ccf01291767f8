"""Hyper-parameters: their types, ranges and help, and what older runs had."""

import pytest

from diffusion_demo.data import CLASSES_FROM
from diffusion_demo.data.preprocess import FITS
from diffusion_demo.diffusion.losses import LOSSES
from diffusion_demo.diffusion.schedules import SCHEDULES
from diffusion_demo.diffusion.timesteps import TIMESTEP_SAMPLERS
from diffusion_demo.errors import BadInput
from diffusion_demo.runtime.device import PRECISIONS
from diffusion_demo.training import config
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.validation import choices_of, range_of


def test_the_choices_are_those_of_the_modules_that_use_them():
    assert set(config.BETA_SCHEDULES) == set(SCHEDULES)
    assert set(config.LOSSES) == set(LOSSES)
    assert set(config.TIMESTEP_SAMPLERS) == set(TIMESTEP_SAMPLERS)
    assert (config.PRECISIONS, config.CLASS_SOURCES, config.FITS) == (PRECISIONS, CLASSES_FROM, FITS)


def test_every_setting_says_what_it_does_and_is_bounded():
    unbounded = {
        "data",
        "preset",
        "init_from",
        "background",
        "ema_decays",
    }  # checked otherwise
    for name, field in TrainConfig.model_fields.items():
        assert field.description and field.description.endswith("."), name
        bounded = choices_of(field) or None not in range_of(field) or field.annotation is bool
        assert bounded or name in unbounded, name


def test_every_setting_is_in_the_help_with_its_default_and_range(command, tmp_path):
    printed = " ".join(command("train", "--help", cwd=tmp_path).stdout.split())
    for name, field in TrainConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in printed
        assert " ".join((field.description or "").split())[:30] in printed.replace("- ", "-"), name
    assert "(1 to 4,096; default: 32)" in printed and "one of crop, pad, squash; default: crop" in printed


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "Batch size must be from 1 to 4096, not 0."),
        ({"batch_size": "32"}, "Batch size must be a whole number, not '32'."),
        ({"save_every": 2.5}, "Save every must be a whole number, not 2.5."),
        ({"flip": "no"}, "Flip must be true or false, not 'no'."),
        ({"flip": "--data=/private"}, "Flip must be true or false, not '--data=/private'."),
        ({"learning_rate": True}, "Learning rate must be a number, not True."),
        ({"learning_rate": float("nan")}, "Learning rate must be from 1e-8 to 1, not nan."),
        ({"task": ["diffusion"]}, "Task must be text, not ['diffusion']."),
        ({"loss": "huber"}, "Loss must be one of hybrid, simple, hybrid_unscaled, kl, rescaled_kl, not 'huber'."),
        ({"ema_decays": (1.0,)}, "EMA decay must be at least 0 and less than 1."),
        ({"preset": None}, "Preset must be text, not None."),
        ({"colour": 3}, "There is no setting 'colour'. Remove it, or correct its name."),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_sentence_at_its_field(settings, sentence):
    with pytest.raises(BadInput) as refused:
        TrainConfig(data="images", **settings)
    assert str(refused.value) == sentence and refused.value.field == next(iter(settings))


def test_a_config_without_data_is_refused():
    with pytest.raises(BadInput, match=r"Data is missing\."):
        TrainConfig()


def test_a_copy_is_validated_again():
    original = TrainConfig(data="images")
    assert original.replace(batch_size=8).batch_size == 8 and original.batch_size == 32
    with pytest.raises(BadInput, match="Batch size"):
        original.replace(batch_size=0)


def test_min_snr_weighting_is_off_where_it_is_not_defined_and_in_runs_of_older_releases():
    assert TrainConfig(data="images").min_snr_gamma == 5
    assert TrainConfig(data="images", snr_gamma=0).min_snr_gamma is None
    assert TrainConfig(data="images", task="classifier").min_snr_gamma is None
    assert TrainConfig(data="images", loss="kl").min_snr_gamma is None
    written = TrainConfig(data="images").model_dump()
    assert TrainConfig.from_json(written) == TrainConfig(data="images")
    del written["snr_gamma"]
    assert TrainConfig.from_json(written).min_snr_gamma is None
