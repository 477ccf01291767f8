"""Models by their names on the Hub, tested offline with a local cache and a local server."""

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
    """Return an empty cache folder and set the Hub client offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def put_into(cache, folder):
    """Copy a folder into the cache as huggingface_hub would, and return its snapshot folder."""
    home = cache / f"models--{NAME.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, home / "snapshots" / COMMIT)
    return home / "snapshots" / COMMIT


def conv_in(checkpoint):
    return checkpoint.unet.state_dict()["conv_in.weight"]


@pytest.mark.parametrize("older", [False, True])
def test_a_hub_model_is_loaded_from_the_cache_when_offline(ddpm, copy, cache, older):
    if older:
        at_the_root(copy)
    put_into(cache, copy)
    loaded = load_checkpoint(NAME)
    assert loaded.description == load_metadata(ddpm) == load_metadata(Path(NAME)) and checkpoint_name(NAME) == NAME
    assert torch.equal(conv_in(loaded), conv_in(load_checkpoint(ddpm)))


def test_a_local_folder_takes_precedence_over_the_hub(random_checkpoint, ddpm, cache, tmp_path):
    put_into(cache, ddpm)
    shutil.copytree(random_checkpoint, tmp_path / NAME)
    assert load_metadata(NAME).class_names == ("one", "three", "two")


def test_the_sample_command_accepts_a_hub_model(ddpm, cache, capsys):
    put_into(cache, ddpm)
    assert (
        main(
            ["sample", "--checkpoint", NAME, "--num-images", "2", "--steps", "3", "--precision", "fp32", "--out", "out"]
        )
        == 0
    )
    capsys.readouterr()
    assert read_settings(Path("out") / "seed_00000001.png")["checkpoint"] == NAME


def test_the_evaluate_command_accepts_a_diffusers_folder(ddpm, digits, capsys):
    words = ["--checkpoint", str(ddpm), "--data", str(digits), "--metrics", "nll", "--steps", "3", "--json"]
    assert main(["evaluate", *words]) == 0
    assert json.loads(capsys.readouterr().out)["nll"]["bits_per_dim"] > 0


def test_a_hub_model_that_is_not_cached_is_refused_when_offline(cache):
    assert "No folder" in refusal(NAME, NAME) and "cache" in refusal(NAME, NAME)


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "some--body/x", "./x.git", "/somebody/x"])
def test_a_name_that_is_not_a_hub_id_is_only_looked_up_locally(cache, name):
    assert refusal(name) == f"No checkpoint folder at {name}. Check the path."


def test_an_incomplete_cached_model_is_refused(ddpm, copy, cache):
    shutil.rmtree(copy / "unet")
    (copy / "unet").mkdir()
    shutil.copy(ddpm / "unet" / "config.json", copy / "unet")
    put_into(cache, copy)
    message = refusal(NAME, NAME)
    assert "diffusion_pytorch_model.safetensors" in message and "DiffusionPipeline" in message


def test_pickled_hub_weights_are_refused_with_a_command_that_converts_them(ddpm, copy, cache):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    UNet2DModel.from_pretrained(ddpm / "unet").save_pretrained(copy / "unet", safe_serialization=False)
    put_into(cache, copy)
    command = re.search(r'python -c "(.*)"', refusal(NAME, NAME))
    assert command
    exec(command[1], {})
    assert torch.equal(conv_in(load_checkpoint("tiny-ddpm")), conv_in(load_checkpoint(ddpm)))


def test_our_checkpoint_on_the_hub_keeps_its_metadata(random_checkpoint, cache):
    put_into(cache, random_checkpoint)
    assert (random_checkpoint / FILE).exists() and load_checkpoint(NAME).description == load_metadata(random_checkpoint)


class _HubHandler(BaseHTTPRequestHandler):
    """The part of the Hub's API that a snapshot download needs."""

    protocol_version = "HTTP/1.1"
    models: dict[str, Path]
    downloaded: list[str]

    def do_HEAD(self):
        self.respond()

    def do_GET(self):
        self.respond()

    def log_message(self, *words):
        pass

    def respond(self):
        path = self.path.partition("?")[0].removeprefix("/").removeprefix("api/models/")
        name, rest = "/".join(path.split("/")[:2]), path.split("/")[2:]
        if name.startswith("gated"):
            return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if name not in self.models:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["tree"]:
            files = sorted(file for file in self.models[name].rglob("*") if file.is_file())
            return self.send(200, json.dumps([entry(file, self.models[name]) for file in files]).encode())
        if rest[:1] == ["resolve"]:
            data, file = (self.models[name] / "/".join(rest[2:])).read_bytes(), "/".join(rest[2:])
            if self.command == "GET":
                self.downloaded.append(file)
            return self.send(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{object_id(data)}"'})
        return self.send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())

    def send(self, status, data, headers=None):
        self.send_response(status)
        fixed = {"Content-Length": str(len(data)), "Content-Type": "application/json"}
        for key, value in (fixed | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def entry(file, root):
    data = file.read_bytes()
    return {"type": "file", "path": file.relative_to(root).as_posix(), "size": len(data), "oid": object_id(data)}


def object_id(data):
    return hashlib.sha1(data).hexdigest()


@contextmanager
def local_hub(models):
    """Serve folders as models of the Hub by their names, and gated/model as a gated one.

    Yields the server's address and the list of downloaded files.
    """
    downloaded = []
    handler = type("Handler", (_HubHandler,), {"models": models, "downloaded": downloaded})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", downloaded
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def run_online(environment, tmp_path):
    """Return a function that runs Python in a subprocess with the Hub at `address`."""

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


def test_only_required_files_are_downloaded_and_then_cached(ddpm, run_online, tmp_path):
    shutil.copytree(ddpm, tmp_path / "both")
    for file in (
        "unet/diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.safetensors",
        "README.md",
        "results.json",
    ):
        (tmp_path / "both" / file).write_text("must not be downloaded")
    words = ["-m", "diffusion_demo", "sample", "--checkpoint", NAME, "--num-images", 1, "--steps", 2, "--out"]
    with local_hub({NAME: tmp_path / "both"}) as (address, downloaded):
        done = run_online(address, *words, "first")
        assert done.returncode == 0, done.stderr
    parts = {
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    assert sorted(downloaded) == sorted(parts)
    done = run_online(address, *words, "second")
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


def test_models_that_cannot_be_downloaded_are_refused_with_the_reason(run_online, tmp_path):
    (tmp_path / "stable" / "unet").mkdir(parents=True)
    parts = {"vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"]}
    (tmp_path / "stable" / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", **parts})
    )
    (tmp_path / "stable" / "unet" / "diffusion_pytorch_model.safetensors").write_text("gigabytes")
    with local_hub({"some/stable": tmp_path / "stable"}) as (address, downloaded):
        done = run_online(address, "-c", DESCRIBE, "some/stable", "some/nothing", "gated/model")
    stable, nothing, gated = done.stdout.splitlines()
    assert stable.startswith("some/stable contains StableDiffusionPipeline") and downloaded == ["model_index.json"]
    assert nothing == "No folder some/nothing, and no public model of that name on the Hub. Check the name."
    assert "gated/model" in gated and "terms" in gated
    silent = run_online(address, "-c", DESCRIBE, "some/nothing")
    assert "cannot be reached" in silent.stdout and silent.stdout.count("\n") == 1, silent
