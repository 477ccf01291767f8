"""Models by their names on the Hub, of which this machine needs none: its cache, and a Hub of our own."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from diffusers import UNet2DModel

from diffusion_demo.cli import main
from diffusion_demo.images import read_settings
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.models.metadata import FILE, checkpoint_name
from tests.models.ho import at_the_root, refusal

NAME, COMMIT = "somebody/tiny-ddpm", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def put_into(cache, folder):
    """A snapshot in the cache as huggingface_hub lays it out."""
    home = cache / f"models--{NAME.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, home / "snapshots" / COMMIT)
    return home / "snapshots" / COMMIT


@pytest.mark.parametrize("older", [False, True])
def test_a_name_on_the_hub_is_read_from_the_cache_without_a_network(ddpm, copy, cache, older):
    if older:
        at_the_root(copy)
    put_into(cache, copy)
    found = load_checkpoint(NAME)
    assert found.description == load_metadata(ddpm) == load_metadata(Path(NAME)) and checkpoint_name(NAME) == NAME
    assert torch.equal(found.unet.conv_in.weight, load_checkpoint(ddpm).unet.conv_in.weight)


def test_a_folder_of_that_name_comes_before_the_hub(random_checkpoint, ddpm, cache, tmp_path):
    put_into(cache, ddpm)
    shutil.copytree(random_checkpoint, tmp_path / NAME)
    assert load_metadata(NAME).class_names == ("one", "three", "two")


def test_sample_takes_a_name_on_the_hub(ddpm, cache, capsys):
    put_into(cache, ddpm)
    assert (
        main(
            ["sample", "--checkpoint", NAME, "--num-images", "2", "--steps", "3", "--precision", "fp32", "--out", "out"]
        )
        == 0
    )
    capsys.readouterr()
    assert read_settings(Path("out") / "seed_00000001.png")["checkpoint"] == NAME


def test_evaluate_takes_a_diffusers_folder(ddpm, digits, capsys):
    words = ["--checkpoint", str(ddpm), "--data", str(digits), "--metrics", "nll", "--steps", "3", "--json"]
    assert main(["evaluate", *words]) == 0
    assert json.loads(capsys.readouterr().out)["nll"]["bits_per_dim"] > 0


def test_what_is_neither_here_nor_in_the_cache_is_said_so(cache):
    assert "no folder" in refusal(NAME, NAME) and "network" in refusal(NAME, NAME)


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "some--body/x", "./x.git", "/somebody/x"])
def test_what_cannot_be_a_name_on_the_hub_is_only_looked_for_here(cache, name):
    assert refusal(name) == f"There is no checkpoint folder {name}."


def test_a_cache_with_half_a_model_is_said_so(ddpm, copy, cache):
    shutil.rmtree(copy / "unet")
    (copy / "unet").mkdir()
    shutil.copy(ddpm / "unet" / "config.json", copy / "unet")
    put_into(cache, copy)
    message = refusal(NAME, NAME)
    assert "diffusion_pytorch_model.safetensors" in message and "DiffusionPipeline" in message


def test_pickled_weights_of_the_hub_are_refused_and_the_command_that_is_named_converts_them(ddpm, copy, cache):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    UNet2DModel.from_pretrained(ddpm / "unet").save_pretrained(copy / "unet", safe_serialization=False)
    put_into(cache, copy)
    exec(re.search(r'python -c "(.*)"', refusal(NAME, NAME))[1], {})
    assert torch.equal(load_checkpoint("tiny-ddpm").unet.conv_in.weight, load_checkpoint(ddpm).unet.conv_in.weight)


def test_a_checkpoint_of_ours_on_the_hub_keeps_its_description(random_checkpoint, cache):
    put_into(cache, random_checkpoint)
    assert (random_checkpoint / FILE).exists() and load_checkpoint(NAME).description == load_metadata(random_checkpoint)


@contextmanager
def a_hub_of(models):
    """A Hub of our own with these folders under their names, and one model, gated/model, that is not for all: its address, and what was fetched."""
    fetched = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def log_message(self, *words):
            pass

        def answer(self):
            path = self.path.partition("?")[0].removeprefix("/").removeprefix("api/models/")
            name, rest = "/".join(path.split("/")[:2]), path.split("/")[2:]
            if name.startswith("gated"):
                return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            if name not in models:
                return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if rest[:1] == ["tree"]:
                files = sorted(file for file in models[name].rglob("*") if file.is_file())
                return self.send(200, json.dumps([self.entry(file, models[name]) for file in files]).encode())
            if rest[:1] == ["resolve"]:
                data, file = (models[name] / "/".join(rest[2:])).read_bytes(), "/".join(rest[2:])
                if self.command == "GET":
                    fetched.append(file)
                return self.send(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{self.oid(data)}"'})
            return self.send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())

        def entry(self, file, root):
            data = file.read_bytes()
            return {"type": "file", "path": file.relative_to(root).as_posix(), "size": len(data), "oid": self.oid(data)}

        def oid(self, data):
            return hashlib.sha1(data).hexdigest()

        def send(self, status, data, headers=None):
            self.send_response(status)
            for key, value in {
                "Content-Length": str(len(data)),
                "Content-Type": "application/json",
                **(headers or {}),
            }.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", fetched
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def at_the_hub(environment, tmp_path):
    """Run Python as a process of its own that takes `address` for the Hub."""

    def run(address, *arguments):
        online = environment | {
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "",
        }
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=online,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_of_a_model_on_the_hub_only_what_is_read_is_fetched_and_then_no_network_is_needed(ddpm, at_the_hub, tmp_path):
    shutil.copytree(ddpm, tmp_path / "both")
    for file in (
        "unet/diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.safetensors",
        "README.md",
        "results.json",
    ):
        (tmp_path / "both" / file).write_text("not to be fetched")
    words = ["-m", "diffusion_demo", "sample", "--checkpoint", NAME, "--num-images", 1, "--steps", 2, "--out"]
    with a_hub_of({NAME: tmp_path / "both"}) as (address, fetched):
        done = at_the_hub(address, *words, "first")
        assert done.returncode == 0, done.stderr
    parts = {
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    assert sorted(fetched) == sorted(parts)
    done = at_the_hub(address, *words, "second")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "first" / "seed_00000000.png").read_bytes() == (
        tmp_path / "second" / "seed_00000000.png"
    ).read_bytes()


DESCRIBE = """
import sys
from diffusion_demo.errors import BadInput
from diffusion_demo.models.load_metadata import load_metadata
for name in sys.argv[1:]:
    try:
        load_metadata(name)
    except BadInput as error:
        print(error)
"""


def test_what_the_hub_does_not_give_is_refused_each_in_its_sentence(at_the_hub, tmp_path):
    (tmp_path / "stable" / "unet").mkdir(parents=True)
    parts = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"]}
    (tmp_path / "stable" / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", **parts})
    )
    (tmp_path / "stable" / "unet" / "diffusion_pytorch_model.safetensors").write_text("gigabytes")
    with a_hub_of({"some/stable": tmp_path / "stable"}) as (address, fetched):
        done = at_the_hub(address, "-c", DESCRIBE, "some/stable", "some/nothing", "gated/model")
    stable, nothing, gated = done.stdout.splitlines()
    assert stable.startswith("some/stable holds a StableDiffusionPipeline") and fetched == ["model_index.json"]
    assert nothing == "There is no folder some/nothing here, and no public model of that name on the Hub."
    assert "gated/model" in gated and "terms" in gated
    silent = at_the_hub(address, "-c", DESCRIBE, "some/nothing")
    assert "cannot be reached" in silent.stdout and silent.stdout.count("\n") == 1, silent
