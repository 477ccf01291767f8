"""Published models: their folder, their card, and the way to the Hub and back, against a local fake of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult

from diffusion_demo.cli import main
from diffusion_demo.hub.local_paths import command_without_paths, without_paths
from diffusion_demo.hub.publish import write_published
from diffusion_demo.hub.publish_settings import PublishSettings
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.load_metadata import load_metadata
from tests.hub.fake_hub import TOKEN
from tests.test_space import ROOT

NAME = "me/tiny"
REPORT = {
    "nll": {"bits_per_dim": 3.21},
    "fd": {"distance": 1.5},
    "pr": {"precision": {"value": 0.5}, "recall": {"value": 0.25}},
}


@pytest.fixture
def checkpoint_of_a_run(trained_checkpoint, tmp_path):
    """Return a checkpoint as a run writes it, whose metadata is full of paths of this machine."""
    folder = tmp_path / "home of anna" / "runs" / "mine" / "checkpoints" / "step_000012"
    shutil.copytree(trained_checkpoint, folder)
    metadata = load_metadata(folder)
    command = f"python -m diffusion_demo train --data '{tmp_path}/home of anna/cats.zip' '--run={folder.parent.parent}'"
    paths = {"source": f"{tmp_path}/cats.zip", "more": [{"at": r"C:\Users\anna\cats"}]}
    origin = f"{folder}; class embedding adapted"
    replace(metadata, command=command, origin=origin, data=(metadata.data or {}) | paths, held_out_loss=0.25).save(
        folder
    )
    return folder


def test_a_published_folder_has_the_model_a_card_and_a_grid_and_names_no_local_path(checkpoint_of_a_run, tmp_path):
    target = tmp_path / "published"
    write_published(checkpoint_of_a_run, target, PublishSettings(NAME, "mit", dataset="me/cats"), REPORT)
    files = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert set(files) == {
        "README.md",
        "samples.png",
        "diffusion_demo.json",
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    }
    for name, content in files.items():
        for word in (str(tmp_path), "anna", "home", "Users", "/mine", "checkpoints"):
            assert word.encode() not in content, (name, word)
    assert "train --data cats.zip --run=mine" in files["README.md"].decode()
    assert "cats.zip" in files["diffusion_demo.json"].decode()
    assert load_checkpoint(target).weights == load_checkpoint(checkpoint_of_a_run).weights


def test_the_card_has_the_metadata_that_the_hub_reads(checkpoint_of_a_run, tmp_path):
    target = tmp_path / "published"
    write_published(checkpoint_of_a_run, target, PublishSettings(NAME, "mit", dataset="me/cats"), REPORT)
    card = ModelCard.load(target / "README.md")
    data = card.data.to_dict()
    assert (data["license"], data["library_name"], data["datasets"]) == ("mit", "diffusers", ["me/cats"])
    assert data["pipeline_tag"] == "unconditional-image-generation" and "diffusion-demo" in data["tags"]
    results = getattr(card.data, "eval_results", None)  # of the model-index; an invalid one is dropped
    assert results and all(isinstance(result, EvalResult) for result in results)
    assert {result.metric_type: result.metric_value for result in results} == {
        "loss": 0.25,
        "bits_per_dim": 3.21,
        "frechet_distance": 1.5,
        "precision": 0.5,
        "recall": 0.25,
    }
    assert "![Sixteen images, seeds 0 to 15: dpm_solver, 12 steps](samples.png)" in card.text
    assert f"--checkpoint {NAME}" in card.text and "THIS_FOLDER" not in card.text


def test_a_card_without_results_has_no_model_index(random_checkpoint, tmp_path):
    write_published(random_checkpoint, tmp_path / "published", PublishSettings(NAME, "other"))
    matter = yaml.safe_load((tmp_path / "published" / "README.md").read_text().split("---\n")[1])
    assert set(matter) == {"license", "library_name", "pipeline_tag", "tags"}


def test_a_model_travels_to_the_hub_and_back_by_its_name(checkpoint_of_a_run, digits, hub, hub_command, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    words = ["--license", "apache-2.0", "--private", "--evaluation", "report.json"]
    done = hub_command("export", "--checkpoint", checkpoint_of_a_run, "--push-to-hub", NAME, *words)
    assert done.returncode == 0 and f"{hub.url}/{NAME}" in done.stdout, done.stderr
    repo = hub.repos[NAME]
    assert repo.created_with["visibility"] == "private" and TOKEN not in done.stdout + done.stderr
    assert any(path == "/api/validate-yaml" for path, _ in hub.made("POST"))
    assert not [name for name in repo.files if name.startswith("state")]

    common = ["--num-images", 2, "--steps", 2, "--precision", "fp32", "--seed", 5]
    done = hub_command("sample", "--checkpoint", NAME, *common, "--out", "hub")
    assert done.returncode == 0, done.stderr
    assert hub_command("sample", "--checkpoint", checkpoint_of_a_run, *common, "--out", "local").returncode == 0
    images = [(tmp_path / folder / "seed_00000006.png") for folder in ("hub", "local")]
    assert pixels(images[0]) == pixels(images[1])

    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    options = ["--batch-size", 8, "--precision", "fp32", "--max-steps", 1, "--data", digits, "--run", "runs/tuned"]
    done = hub_command("train", "--init-from", NAME, *options, **offline)
    assert done.returncode == 0, done.stderr
    tuned = load_metadata(tmp_path / "runs" / "tuned" / "checkpoints" / "step_000001")
    assert tuned.origin.startswith(NAME) and tuned.image_size == 16


def pixels(file):
    from PIL import Image

    return Image.open(file).tobytes()


def test_an_exported_model_of_one_class_is_published_too(random_checkpoint, hub, hub_command):
    done = hub_command(
        "export", "--checkpoint", random_checkpoint, "--class", "two", "--out", "out", "--push-to-hub", NAME,
        "--license", "mit",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(hub.repos[NAME].files["diffusion_demo.json"])["class_names"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--push-to-hub", NAME], "--license NAME, one of apache-2.0"),
        (["--push-to-hub", NAME, "--license", "mine"], "License must be one of"),
        (["--push-to-hub", "tiny", "--license", "mit"], "must be USER/NAME"),
        (["--push-to-hub", NAME, "--license", "mit", "--dataset", "/home/me/cats"], "must be USER/NAME"),
        (
            ["--push-to-hub", NAME, "--license", "mit", "--evaluation", "none.json"],
            "No file at none.json. Check the path.",
        ),
        (["--push-to-hub", NAME, "--license", "mit", "--class", "two"], "--out DIR"),
        ([], "--out DIR, or --push-to-hub"),
    ],
)
def test_bad_input_is_one_sentence(random_checkpoint, capsys, arguments, sentence):
    assert main(["export", "--checkpoint", str(random_checkpoint), *arguments]) == 2
    output = capsys.readouterr()
    assert sentence in output.err and len(output.err.splitlines()) == 1


def test_what_is_not_a_checkpoint_of_ours_is_refused(ddpm, tmp_path):
    for folder in (ddpm, "oracle-memory"):
        with pytest.raises(ValueError, match=r"Upload it with|Publish a trained checkpoint"):
            write_published(Path(folder), tmp_path / "published", PublishSettings(NAME, "mit"))


@pytest.mark.parametrize(
    ("command", "cleaned"),
    [
        ("train --data /home/anna/cats.zip --run runs/mine", "train --data cats.zip --run mine"),
        ("train --data=~/cats --init-from google/ddpm", "train --data=cats --init-from google/ddpm"),
        ("train --init-from /home/anna/runs/a/checkpoints/step_1", "train --init-from step_1"),
        (r"train --data 'C:\Users\anna\my cats' --flip", "train --data 'my cats' --flip"),
        ("train --data '/home/anna/it", "train --data 'it"),
        ("train --no-flip --ema-decays 0.9,0.99 --background '#fff'", None),
        ("python -m diffusion_demo train --run ../x/", "python -m diffusion_demo train --run x"),
    ],
)
def test_paths_leave_a_command(command, cleaned):
    assert command_without_paths(command) == (cleaned or command)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/anna/model; class embedding", "model; class embedding"),
        (f"from {ROOT}/checkpoints, adapted", "from checkpoints, adapted"),
        ("google/ddpm-cifar10-32; 1/2 of https://huggingface.co/a/b", None),
        ("file:///home/anna/a.zip", "a.zip"),
        (r"D:\data\cats", "cats"),
    ],
)
def test_paths_leave_a_text(text, cleaned):
    assert without_paths(text) == (cleaned or text)
