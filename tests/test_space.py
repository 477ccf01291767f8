"""What the Hub reads of this repository, and what the page allows where the environment says that it is a Space."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
TEXT, TRUTH, TEXTS = str, bool, list
# huggingface.co/docs/hub/spaces-config-reference, as read in August 2026. Other keys are refused by the Hub or mean nothing to it.
DOCUMENTED = {
    "title": TEXT,
    "emoji": TEXT,
    "colorFrom": TEXT,
    "colorTo": TEXT,
    "sdk": TEXT,
    "python_version": TEXT,
    "sdk_version": TEXT,
    "suggested_hardware": TEXT,
    "app_file": TEXT,
    "base_path": TEXT,
    "fullWidth": TRUTH,
    "header": TEXT,
    "short_description": TEXT,
    "models": TEXTS,
    "datasets": TEXTS,
    "tags": TEXTS,
    "license": TEXT,
    "thumbnail": TEXT,
    "pinned": TRUTH,
    "hf_oauth": TRUTH,
    "disable_embedding": TRUTH,
    "startup_duration_timeout": TEXT,
    "custom_headers": dict,
    "preload_from_hub": TEXTS,
}
HARDWARE = {
    "cpu-basic",
    "cpu-upgrade",
    "zero-a10g",
    "t4-small",
    "t4-medium",
    "l4x1",
    "l4x4",
    "a10g-small",
    "a10g-large",
    "a100-large",
}
MOST_OF_A_SHORT_DESCRIPTION = 60


@pytest.fixture(scope="module")
def card():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL).group(1))


def test_every_key_is_a_documented_one_of_its_type(card):
    assert {key: type(value) for key, value in card.items()} == {key: DOCUMENTED[key] for key in card}
    assert {
        "title",
        "emoji",
        "sdk",
        "sdk_version",
        "python_version",
        "app_file",
        "short_description",
        "license",
        "models",
        "tags",
    } <= set(card)


def test_every_value_is_within_its_limits(card):
    assert (
        card["sdk"] == "gradio"
        and {card["colorFrom"], card["colorTo"]} <= COLORS
        and card["header"] in ("mini", "default")
    )
    assert 0 < len(card["short_description"]) <= MOST_OF_A_SHORT_DESCRIPTION
    assert len(card["emoji"]) == 1 and not card["emoji"].isascii()
    assert card["suggested_hardware"] in HARDWARE and (ROOT / card["app_file"]).is_file()
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", model) for model in card["models"])
    assert "thumbnail" not in card or card["thumbnail"].startswith("https://") or (ROOT / card["thumbnail"]).is_file()


def test_its_versions_are_those_that_are_tested_and_required(card):
    required = dict(re.findall(r"^([\w-]+)==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert card["sdk_version"] == required["gradio"]
    assert re.fullmatch(r"3\.(11|12)(\.\d+)?", card["python_version"]), (
        "quoted, and one that diffusers and ZeroGPU know"
    )


SPACE = {"SPACE_ID": "somebody/demo"}


def test_ones_own_machine_allows_everything():
    own = Settings.from_environment({})
    assert (own.public, own.training, own.anywhere, own.login, own.space, own.lasts) == (
        False,
        True,
        True,
        None,
        False,
        True,
    )


def test_a_space_allows_little():
    space = Settings.from_environment(SPACE)
    assert (space.public, space.training, space.anywhere, space.lasts) == (True, False, False, False)
    own = Settings()
    for name in (
        "images",
        "steps",
        "minutes",
        "upload_mb",
        "disk_gb",
        "queue",
        "calls_a_minute",
        "idle_minutes",
        "temporary_minutes",
    ):
        assert getattr(space, name) < getattr(own, name), name


def test_its_owner_may_allow_more_but_no_training_on_zero_gpu():
    told = SPACE | {
        "DIFFUSION_DEMO_TRAINING": "on",
        "DIFFUSION_DEMO_IMAGES": "32",
        "DIFFUSION_DEMO_LOGIN": "me:a:b",
        "DIFFUSION_DEMO_RUNS": "/data",
    }
    space = Settings.from_environment(told)
    assert (space.training, space.images, space.login, space.lasts) == (True, 32, ("me", "a:b"), True)
    assert not Settings.from_environment(told | {"SPACES_ZERO_GPU": "true"}).training


@pytest.mark.parametrize(
    ("name", "value"),
    [("IMAGES", "many"), ("IMAGES", "0"), ("STEPS", "-1"), ("DISK_GB", "1e9"), ("TRAINING", "maybe"), ("LOGIN", "me")],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(BadInput, match=f"DIFFUSION_DEMO_{name}"):
        Settings.from_environment({f"DIFFUSION_DEMO_{name}": value})


def test_the_page_does_not_start_with_such_a_setting():
    ended = subprocess.run(
        [sys.executable, "app.py", "--no-browser"],
        cwd=ROOT,
        env=os.environ | {"DIFFUSION_DEMO_IMAGES": "many"},
        capture_output=True,
        text=True,
    )
    assert (
        ended.returncode == 2
        and ended.stderr.strip() == "DIFFUSION_DEMO_IMAGES must be a whole number from 1, not 'many'."
    )


def test_the_readme_tells_every_setting():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Put it on a Space") : readme.index("## Measure")]
    rows = re.findall(r"^\| ([A-Z_, ]+) \|", section, re.MULTILINE)
    told = {name for row in rows for name in row.split(", ")}
    assert told == {name.upper() for name in Settings.__dataclass_fields__ if name not in ("space", "lasts")} | {"RUNS"}


STAND_IN = """
import sys
assert "torch" not in sys.modules and "diffusers" not in sys.modules, "spaces must come before torch"
class GPU:
    def __init__(self, duration): self.duration = duration
    def __call__(self, function): wrapped.append((function.__name__, self.duration)); return function
wrapped = []
"""


def test_on_zero_gpu_the_sampling_is_wrapped_and_spaces_comes_before_torch(tmp_path):
    """The package that Spaces have is not here: one of its name stands in and tells the order and what was wrapped."""
    (tmp_path / "spaces.py").write_text(STAND_IN)
    script = "import diffusion_demo.ui.page, spaces; print(spaces.wrapped)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[('_with_the_gpu', 60)]"


def test_elsewhere_nothing_is_wrapped_and_steps_are_the_samplers_own(random_checkpoint):
    from diffusion_demo.sampling.generate import sample_batch
    from diffusion_demo.sampling.request import Request, image_specs
    from diffusion_demo.ui.server import hf_space
    from diffusion_demo.ui.server.model_cache import load

    request, checkpoint = Request(num_images=2, steps=2), load(random_checkpoint)
    specs = image_specs(request, checkpoint.description)
    through = [step.xt for step in hf_space.steps(sample_batch, checkpoint, random_checkpoint, request, specs)]
    direct = [step.xt for step in sample_batch(checkpoint, request, specs)]
    assert (
        hf_space.spaces is None and len(through) == 2 and all(a.equal(b) for a, b in zip(through, direct, strict=True))
    )


def test_what_zero_gpu_would_run_gives_the_same_steps_from_the_folder_alone(random_checkpoint):
    from diffusion_demo.sampling.generate import sample_batch
    from diffusion_demo.sampling.request import Request, image_specs
    from diffusion_demo.ui.server import hf_space
    from diffusion_demo.ui.server.model_cache import load

    request, checkpoint = Request(num_images=2, steps=2), load(random_checkpoint)
    specs = image_specs(request, checkpoint.description)
    there = [step.xt for step in hf_space._with_the_gpu(sample_batch, random_checkpoint, request, specs)]
    assert all(a.equal(b.xt) for a, b in zip(there, sample_batch(checkpoint, request, specs), strict=True))
