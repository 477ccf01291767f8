"""`diffusion-demo deploy`: what it says it would do, and what a local fake of the Hub sees it do."""

import json
import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from diffusion_demo.cli import main
from diffusion_demo.hub import space_card, space_requirements
from diffusion_demo.hub.space_files import files_of_space
from tests.conftest import ROOT
from tests.hub.fake_hub import TOKEN

OPTIONS = ["--bucket", "--set", "IMAGES=8", "--set", "DIFFUSION_DEMO_STEPS=50"]
WRITTEN = {"README.md", "app.py", "requirements.txt"}


def planned(output):
    """Return the requests of a dry run that have a body, and the paths of its files."""
    requests = [line.split(" ", 2) for line in output.splitlines() if re.match(r"(POST|PUT) \S+ \{", line)]
    files = re.findall(r"^  (\S.*) \([\d,]+ bytes\)$", output, re.MULTILINE)
    return [(method, path, json.loads(body)) for method, path, body in requests], files


def test_a_dry_run_prints_the_requests_and_files_that_a_deployment_makes_and_sends_nothing(hub, hub_command):
    dry = hub_command("deploy", "me/demo", "--dry-run", *OPTIONS)
    assert dry.returncode == 0 and not hub.requests, dry.stderr
    requests, files = planned(dry.stdout)
    done = hub_command("deploy", "me/demo", *OPTIONS)
    assert done.returncode == 0, done.stderr
    with_body = [one for one in hub.requests if one[0] in ("POST", "PUT")]
    assert [one for one in with_body if not re.search("yaml|preupload|lfs|commit", one[1])] == requests
    announced = re.findall(r"^(?:GET|POST) (\S+)", dry.stdout, re.MULTILINE)
    assert {path for _, path, _ in hub.requests} <= {*announced, "/api/spaces/me/demo/volumes"}
    assert sorted(hub.repos["me/demo"].files) == sorted(files)


def test_the_space_is_created_on_zero_gpu_with_its_variables_and_bucket(hub, hub_command):
    done = hub_command("deploy", "me/demo", *OPTIONS)
    assert done.returncode == 0 and f"{hub.url}/spaces/me/demo" in done.stdout
    created = hub.repos["me/demo"].created_with
    assert (created["type"], created["sdk"], created["hardware"]) == ("space", "gradio", "zero-a10g")
    variables = {body["key"]: body["value"] for path, body in hub.made("POST") if path.endswith("/variables")}
    assert variables == {
        "DIFFUSION_DEMO_IMAGES": "8",
        "DIFFUSION_DEMO_STEPS": "50",
        "DIFFUSION_DEMO_RUNS": "/data",
    }
    volume = {"type": "bucket", "source": "me/demo-runs", "mountPath": "/data"}
    assert hub.made("PUT") == [("/api/spaces/me/demo/volumes", {"volumes": [volume]})]
    assert ("/api/buckets/me/demo-runs", {"visibility": "private"}) in hub.made("POST")


def test_a_second_deployment_updates_the_space_and_removes_files_of_an_earlier_release(hub, hub_command):
    assert hub_command("deploy", "me/demo").returncode == 0
    files = hub.repos["me/demo"].files
    files |= {"diffusion_demo/old.py": b"old", ".gitattributes": b"of the Hub"}
    assert hub_command("deploy", "me/demo").returncode == 0
    assert set(files) == {*files_of_space(), ".gitattributes"}


def test_the_token_is_sent_to_the_hub_and_shown_nowhere(hub, hub_command, tmp_path):
    done = hub_command("deploy", "me/demo", "--bucket")
    assert hub.tokens == {f"Bearer {TOKEN}"}
    uploaded = b"".join(hub.repos["me/demo"].files.values())
    assert TOKEN not in done.stdout + done.stderr and TOKEN.encode() not in uploaded
    assert [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()] == [
        tmp_path / "hf" / "token"
    ]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "does not accept the token"),
        (402, "requires a paid plan"),
        (403, "may not write there"),
        (500, "HTTP 500"),
    ],
)
def test_a_refusal_of_the_hub_is_one_sentence(hub, hub_command, status, sentence):
    hub.refuse["/api/repos/create"] = status
    done = hub_command("deploy", "me/demo")
    assert done.returncode == 2 and sentence in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_a_login_or_a_connection_nothing_starts(hub, hub_command, tmp_path):
    done = hub_command("deploy", "me/demo", HF_HOME=str(tmp_path / "empty"))
    assert done.returncode == 2 and "hf auth login" in done.stderr and not hub.requests
    done = hub_command("deploy", "me/demo", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2 and "Check the connection" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo"], "USER/NAME"),
        (["me/a b"], "USER/NAME"),
        (["me/demo", "--bucket", "runs"], "USER/NAME"),
        (["me/demo", "--set", "IMAGES"], "NAME=VALUE"),
        (["me/demo", "--set", "images=8"], "NAME=VALUE"),
        (["me/demo", "--set", "LOGIN=me:secret"], "as a secret"),
    ],
)
def test_bad_input_is_one_sentence(capsys, arguments, sentence):
    assert main(["deploy", *arguments, "--dry-run"]) == 2
    output = capsys.readouterr()
    assert sentence in output.err and len(output.err.splitlines()) == 1
    assert "me:secret" not in output.err and not output.out


def test_a_space_gets_the_package_the_models_and_three_files_and_nothing_else():
    tracked = subprocess.run(
        ["git", "ls-files", "diffusion_demo", "checkpoints"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(files_of_space()) == {*tracked.stdout.split("\n"), *WRITTEN} - {""}


def test_files_that_editors_and_systems_leave_are_not_uploaded(tmp_path, monkeypatch):
    from diffusion_demo.hub import space_files

    for name in ("a.py", "__pycache__/a.pyc", ".hidden/b.py", ".c.py", "notes.txt", "d.py.orig", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(space_files, "PACKAGE", tmp_path)
    monkeypatch.setattr(space_files, "CHECKPOINTS", tmp_path / "none")
    assert set(space_files.files_of_space()) == {"diffusion_demo/a.py", *WRITTEN}


def test_the_settings_of_a_deployed_space_are_those_of_the_repository():
    readme = re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert readme and space_card.front_matter() == yaml.safe_load(readme[1])
    deployed = space_card.readme("it's: a #title", True)
    expected = space_card.front_matter("it's: a #title", True)
    assert yaml.safe_load(deployed.split("---\n")[1]) == expected and expected["hf_oauth"] is True


def test_a_space_gets_a_torch_that_zero_gpu_runs_and_no_gradio_beside_that_of_its_sdk():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = {(one := Requirement(line)).name: one.specifier for line in project["dependencies"]}
    lines = [Requirement(line) for line in space_requirements.requirements_of_space().splitlines()]
    pinned = {one.name: str(one.specifier) for one in lines}
    torch = pinned["torch"].removeprefix("==")
    assert torch in space_requirements.ZERO_GPU_TORCH and ours["torch"].contains(torch)
    assert set(pinned) == set(ours) - {"gradio"}
    assert ours["gradio"].contains(space_requirements.gradio_version())
    assert any(ours["torch"].contains(version) for version in space_requirements.ZERO_GPU_TORCH)
    assert space_requirements.PYTHON in ("3.12.12", "3.10.13")
    assert Requirement(f"python{project['requires-python']}").specifier.contains(space_requirements.PYTHON)


def test_an_installed_package_has_the_same_requirements(monkeypatch):
    from importlib import metadata

    listed = ["gradio==1.2.3", "torch>=2.8,<2.14", 'pytest>=8; extra == "dev"', "pillow>=11"]
    monkeypatch.setattr(space_requirements, "CHECKOUT", None)
    monkeypatch.setattr(metadata, "requires", lambda name: listed)
    assert space_requirements.gradio_version() == "1.2.3"
    assert space_requirements.requirements_of_space().splitlines() == [
        f"torch=={space_requirements.TORCH}",
        "pillow>=11",
    ]
