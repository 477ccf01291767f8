"""Fields of a sampling request: types, ranges and help, and the usual values in place of None."""

import pickle
from dataclasses import replace

import pytest

from diffusion_demo.cli.options import parse_steps
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.runtime import device
from diffusion_demo.sampling import request
from diffusion_demo.sampling.presets import DEFAULT, PRESETS, SAMPLER_TITLES, usual_eta
from diffusion_demo.sampling.request import Request
from diffusion_demo.sampling.variations import Variation
from diffusion_demo.validation import fields_of

COSINE = Diffusion(named_betas("squaredcos_cap_v2", 1000))


def test_the_choices_are_those_of_the_modules_that_use_them():
    assert list(SAMPLER_TITLES) == list(SAMPLERS) and request.PRECISIONS == device.PRECISIONS


def test_the_defaults_are_those_of_the_default_preset():
    plain = Request().resolved(COSINE)
    assert (plain.sampler, plain.steps, plain.eta) == PRESETS[DEFAULT]


def test_every_setting_is_in_the_help_of_sample_with_its_default_and_range(command, tmp_path):
    printed = " ".join(command("sample", "--help", cwd=tmp_path).stdout.split()).replace("- ", "-")
    for name, field in fields_of(Request).items():
        assert field.description and field.description.endswith("."), name
        assert " ".join(field.description.split())[:30] in printed, name
        assert f"--{'class' if name == 'class_index' else name.replace('_', '-')}" in printed
    for words in ("one of ddpm, ddim, dpm_solver; default: dpm_solver", "(0 to 100; default: 1.0)", "(default: 12)"):
        assert words in printed


@pytest.mark.parametrize(
    ("settings", "field", "sentence"),
    [
        ({"num_images": "3"}, "num_images", "The number of images must be a whole number, not '3'."),
        ({"num_images": True}, "num_images", "The number of images must be a whole number, not True."),
        ({"num_images": None}, "num_images", "The number of images must be a whole number, not None."),
        ({"sampler": 2}, "sampler", "Sampler must be text, not 2."),
        ({"steps": "12"}, "steps", "trailing:20, not '12'."),
        ({"steps": 12.0}, "steps", "trailing:20, not 12.0."),
        ({"steps": True}, "steps", "trailing:20, not True."),
        ({"eta": -0.5}, "eta", "Eta must be from 0 to 1, not -0.5."),
        ({"eta": 50}, "eta", "Eta must be from 0 to 1, not 50."),
        ({"eta": "0.5"}, "eta", "Eta must be a number, not '0.5'."),
        ({"seed": 1.5}, "seed", "The seed must be a whole number, not 1.5."),
        ({"class_index": "two"}, "class_index", "Class index must be a whole number, not 'two'."),
        ({"guidance_scale": float("nan")}, "guidance_scale", "The guidance scale must be from 0 to 100, not nan."),
        ({"guidance_interval": (1, 2, 3)}, "guidance_interval", "such as 400 and 999, not (1, 2, 3)."),
        ({"guidance_interval": (0.5, 2)}, "guidance_interval", "such as 400 and 999, not (0.5, 2)."),
        ({"guidance_interval": "ab"}, "guidance_interval", "such as 400 and 999, not 'ab'."),
        ({"precision": "fp8"}, "precision", "Precision must be one of auto, fp32, bf16, not 'fp8'."),
        ({"colour": 1}, "colour", "There is no setting 'colour'. Remove it, or correct its name."),
        ({"eta": "x" * 10_000}, "eta", "..."),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused_in_one_sentence(settings, field, sentence):
    with pytest.raises(BadInput) as caught:
        Request(**settings)
    assert str(caught.value).endswith(sentence if sentence != "..." else ".") and len(str(caught.value)) < 200
    assert caught.value.field == field
    if settings.keys() <= fields_of(Request).keys():
        with pytest.raises(BadInput):
            replace(Request(), **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"how_far": 0}, "How far must be more than 0 and at most 100, not 0."),
        ({"how_far": 101.0}, "How far must be more than 0 and at most 100, not 101."),
        ({"steps": "25"}, "Steps must be a whole number, not '25'."),
        ({"precision": "half"}, "Precision must be one of auto, fp32, bf16, not 'half'."),
        ({"num_images": 0}, "The number of images must be at least 1, not 0."),
    ],
)
def test_variations_are_as_strict(settings, sentence):
    with pytest.raises(BadInput) as caught:
        Variation(**settings)
    assert str(caught.value) == sentence


def test_settings_can_be_given_by_position_and_errors_still_name_the_field():
    assert Request(2, "ddpm", 100, precision="fp32") == Request(
        num_images=2, sampler="ddpm", steps=100, precision="fp32"
    )
    with pytest.raises(BadInput) as caught:
        Request(2, "ddpm", 100, "much")  # pyright: ignore[reportArgumentType]
    assert caught.value.field == "eta"


def test_a_request_can_be_sent_to_another_process_but_not_changed():
    request = Request(guidance_scale=2.0, guidance_interval=(1, 2))
    assert pickle.loads(pickle.dumps(request)) == request
    with pytest.raises(AttributeError):
        request.eta = 5  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("text", "steps"), [("12", 12), (" 12 ", 12), ("ddim50", "ddim50"), ("10,15", "10,15")])
def test_the_command_line_means_a_number_by_a_number(text, steps):
    assert Request(steps=parse_steps(text)).steps == steps


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_usual_values_replace_none_only(sampler):
    assert Request(sampler=sampler).resolved(COSINE) == Request(sampler=sampler, eta=usual_eta(sampler))
    guided = Request(sampler=sampler, guidance_scale=2.0)
    assert guided.resolved(COSINE).guidance_interval == (400, 999)
    explicit = replace(guided, eta=0.25, guidance_interval=(0, 999))
    assert explicit.resolved(COSINE) == explicit
    assert replace(explicit, guidance_scale=1.0).resolved(COSINE).guidance_interval is None


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear"])
def test_ddim_is_not_guided_by_a_classifier_at_the_noisiest_timesteps_unless_told(schedule):
    chain = Diffusion(named_betas(schedule, 1000))
    highest = max(t for t in range(1000) if chain.abar[t] >= 1e-3)
    ddim = Request(sampler="ddim", classifier_scale=1.0)
    assert ddim.resolved(chain).guidance_interval == (400, highest) and highest < 999
    assert replace(ddim, guidance_interval=(0, 999)).resolved(chain).guidance_interval == (0, 999)
    assert replace(ddim, sampler="ddpm").resolved(chain).guidance_interval == (400, 999)
