"""Metadata of the Hugging Face Space in README.md, and the settings of the page on a Space."""

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
# huggingface.co/docs/hub/spaces-config-reference in August 2026. The Hub rejects or ignores other keys.
DOCUMENTED_KEYS = {
    "title": str,
    "emoji": str,
    "colorFrom": str,
    "colorTo": str,
    "sdk": str,
    "python_version": str,
    "sdk_version": str,
    "suggested_hardware": str,
    "app_file": str,
    "base_path": str,
    "fullWidth": bool,
    "header": str,
    "short_description": str,
    "models": list,
    "datasets": list,
    "tags": list,
    "license": str,
    "thumbnail": str,
    "pinned": bool,
    "hf_oauth": bool,
    "disable_embedding": bool,
    "startup_duration_timeout": str,
    "custom_headers": dict,
    "preload_from_hub": list,
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
MAX_SHORT_DESCRIPTION = 60


@pytest.fixture(scope="module")
def card():
    """The YAML front matter of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    front_matter = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert front_matter
    return yaml.safe_load(front_matter.group(1))


def test_keys_and_types_are_documented(card):
    assert {key: type(value) for key, value in card.items()} == {key: DOCUMENTED_KEYS[key] for key in card}
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


def test_values_are_valid(card):
    assert (
        card["sdk"] == "gradio"
        and {card["colorFrom"], card["colorTo"]} <= COLORS
        and card["header"] in ("mini", "default")
    )
    assert 0 < len(card["short_description"]) <= MAX_SHORT_DESCRIPTION
    assert len(card["emoji"]) == 1 and not card["emoji"].isascii()
    assert card["suggested_hardware"] in HARDWARE and (ROOT / card["app_file"]).is_file()
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", model) for model in card["models"])
    assert "thumbnail" not in card or card["thumbnail"].startswith("https://") or (ROOT / card["thumbnail"]).is_file()


def test_versions_match_requirements(card):
    required = dict(re.findall(r"^([\w-]+)==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert card["sdk_version"] == required["gradio"]
    assert re.fullmatch(r"3\.(11|12)(\.\d+)?", card["python_version"]), (
        "must be a string, and supported by diffusers and ZeroGPU"
    )


SPACE = {"SPACE_ID": "somebody/demo"}


def test_local_settings():
    local = Settings.from_environment({})
    assert (local.public, local.training, local.anywhere, local.login, local.space, local.lasts) == (
        False,
        True,
        True,
        None,
        False,
        True,
    )


@pytest.mark.parametrize("value", ["0", "-1", "many", "1000000001", "9" * 5000])
def test_a_limit_that_is_no_number_or_too_large_is_refused_in_a_short_sentence(value):
    with pytest.raises(BadInput, match="an integer from 1 to 1000000000") as refused:
        Settings.from_environment({"DIFFUSION_DEMO_STEPS": value})
    assert len(str(refused.value)) < 100


def test_a_space_is_restricted():
    space = Settings.from_environment(SPACE)
    assert (space.public, space.training, space.anywhere, space.lasts) == (True, False, False, False)
    local = Settings()
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
        assert getattr(space, name) < getattr(local, name), name


def test_the_environment_overrides_defaults_but_not_training_on_zero_gpu():
    environment = SPACE | {
        "DIFFUSION_DEMO_TRAINING": "on",
        "DIFFUSION_DEMO_IMAGES": "32",
        "DIFFUSION_DEMO_LOGIN": "me:a:b",
        "DIFFUSION_DEMO_RUNS": "/data",
    }
    space = Settings.from_environment(environment)
    assert (space.training, space.images, space.login, space.lasts) == (True, 32, ("me", "a:b"), True)
    assert not Settings.from_environment(environment | {"SPACES_ZERO_GPU": "true"}).training


@pytest.mark.parametrize(
    ("name", "value"),
    [("IMAGES", "many"), ("IMAGES", "0"), ("STEPS", "-1"), ("DISK_GB", "1e9"), ("TRAINING", "maybe"), ("LOGIN", "me")],
)
def test_an_invalid_setting_is_named(name, value):
    with pytest.raises(BadInput, match=f"DIFFUSION_DEMO_{name}"):
        Settings.from_environment({f"DIFFUSION_DEMO_{name}": value})


def test_the_server_does_not_start_with_an_invalid_setting():
    completed = subprocess.run(
        [sys.executable, "app.py", "--no-browser"],
        cwd=ROOT,
        env=os.environ | {"DIFFUSION_DEMO_IMAGES": "many"},
        capture_output=True,
        text=True,
    )
    assert (
        completed.returncode == 2
        and completed.stderr.strip() == "DIFFUSION_DEMO_IMAGES must be an integer from 1 to 1000000000, not 'many'."
    )


def test_every_setting_is_documented():
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z_, ]+) \|", page, re.MULTILINE)
    documented = {name for row in rows for name in row.split(", ")}
    assert documented == {name.upper() for name in Settings.__dataclass_fields__ if name not in ("space", "lasts")} | {
        "RUNS"
    }


FAKE_SPACES = """
import sys
assert "torch" not in sys.modules and "diffusers" not in sys.modules, "spaces must come before torch"
class GPU:
    def __init__(self, duration): self.duration = duration
    def __call__(self, function): wrapped.append((function.__name__, self.duration(7, None))); return function
wrapped = []
"""


@pytest.mark.parametrize(("zero_gpu", "expected"), [("true", "[('_sample_on_gpu', 7)] cpu"), ("", "[] cuda")])
def test_only_on_zero_gpu_is_sampling_decorated_and_spaces_comes_before_torch(tmp_path, zero_gpu, expected):
    """A fake `spaces` package records the decorated functions and checks the import order.

    Spaces on other hardware have the package as well, and use their GPU as any machine does.
    """
    (tmp_path / "spaces.py").write_text(FAKE_SPACES)
    script = """
import sys, diffusion_demo.ui.page, torch
wrapped = sys.modules["spaces"].wrapped if "spaces" in sys.modules else []
torch.cuda.is_available = lambda: True
from diffusion_demo.ui.server.model_cache import device
print(wrapped, device())
"""
    completed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "SPACES_ZERO_GPU": zero_gpu},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.strip() == expected


def test_without_zero_gpu_the_sampler_runs_unchanged(random_checkpoint):
    from diffusion_demo.sampling.generate import sample_batch
    from diffusion_demo.sampling.request import Request, image_specs
    from diffusion_demo.ui.server import hf_space
    from diffusion_demo.ui.server.model_cache import load

    request, checkpoint = Request(num_images=2, steps=2), load(random_checkpoint)
    specs = image_specs(request, checkpoint.description)
    steps = [step.xt for step in hf_space.steps(sample_batch, checkpoint, random_checkpoint, request, specs)]
    direct = [step.xt for step in sample_batch(checkpoint, request, specs)]
    assert hf_space.spaces is None and len(steps) == 2 and all(a.equal(b) for a, b in zip(steps, direct, strict=True))


def test_the_function_for_zero_gpu_yields_the_same_steps(random_checkpoint):
    from diffusion_demo.sampling.generate import sample_batch
    from diffusion_demo.sampling.request import Request, image_specs
    from diffusion_demo.ui.server import hf_space
    from diffusion_demo.ui.server.model_cache import load

    request, checkpoint = Request(num_images=2, steps=2), load(random_checkpoint)
    specs = image_specs(request, checkpoint.description)
    steps = [step.xt for step in hf_space._borrow_gpu(5, sample_batch, random_checkpoint, request, specs)]
    assert all(a.equal(b.xt) for a, b in zip(steps, sample_batch(checkpoint, request, specs), strict=True))
