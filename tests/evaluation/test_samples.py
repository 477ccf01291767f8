"""The `evaluate` command on sampled and given images: reports, files, invalid input."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from diffusion_demo.cli import main
from diffusion_demo.evaluation.report import report_lines
from diffusion_demo.evaluation.samples import load_samples
from diffusion_demo.images import read_settings, save_png

COMPARED = "fd, sfd, is, pr, nn"


def run(capsys, *arguments):
    code = main(["evaluate", *map(str, arguments)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


@pytest.fixture(scope="module")
def measured(random_checkpoint, digits, command, tmp_path_factory):
    """The report of the command on 24 samples of the random checkpoint, and its working folder."""
    folder = tmp_path_factory.mktemp("measured")
    options = [
        "--metrics",
        COMPARED,
        "--num-images",
        24,
        "--steps",
        2,
        "--seed",
        5,
        "--work",
        "work",
        "--save-npz",
        "batch.npz",
        "--json",
    ]
    done = command("evaluate", "--checkpoint", random_checkpoint, "--data", digits, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def test_all_metrics_share_one_set_of_samples(measured):
    report, folder = measured
    assert (
        report["samples"]["images"] == 24 and report["samples"]["seeds"] == [5, 28] and report["samples"]["steps"] == 2
    )
    assert (
        report["checkpoint"] == report["samples"]["checkpoint"] == "random"
        and report["seed"] == 5
        and "nll" not in report
    )
    for name in COMPARED.split(", "):
        assert (
            report[name]["samples"] == 24
            and report[name]["reference"] == 60
            and report[name]["features"] == "feature-classifier"
        )
    assert report["fd"]["dimensions"] == 96 and report["sfd"]["dimensions"] == 112 and report["is"]["classes"] == 10
    for part in (
        report["fd"],
        report["sfd"],
        report["is"],
        report["pr"]["precision"],
        report["pr"]["recall"],
        report["nn"]["in_pixels"]["ratio"],
    ):
        assert part["standard_error"] >= 0 and part["interval"][0] <= part["interval"][1]
    assert (
        report["sfd"]["distance"] > 0
        and 1 <= report["is"]["score"] <= 9
        and report["nn"]["training"] == 60 - report["data"]["held_out"]
    )
    assert sorted(path.name for path in (folder / "work").iterdir()) == ["nearest.png", "samples"]
    assert len(list((folder / "work" / "samples").iterdir())) == 24


def test_the_batch_holds_the_sampled_images_and_their_classes(measured):
    _, folder = measured
    with np.load(folder / "batch.npz") as file:
        first = np.asarray(Image.open(folder / "work" / "samples" / "seed_00000005.png"))
        assert file["arr_0"].shape == (24, 16, 16, 3) and (file["arr_0"][0] == first).all()
        assert sorted(set(file["arr_1"].tolist())) == [0, 1, 2]


def test_the_same_images_given_as_a_folder_or_a_batch_measure_the_same(measured, digits, capsys):
    report, folder = measured
    common = ["--data", digits, "--metrics", COMPARED, "--seed", 5, "--json"]
    from_folder = json.loads(run(capsys, *common, "--samples", folder / "work" / "samples"))
    from_batch = json.loads(run(capsys, *common, "--samples", folder / "batch.npz"))
    assert from_folder["samples"] == report["samples"] and from_batch["samples"] == {"images": 24}
    for name in ("fd", "sfd", "is", "pr"):
        assert from_folder[name] == from_batch[name] == report[name]
    assert from_batch["nn"] | {"sheet": None} == from_folder["nn"] | {"sheet": None}


def test_equal_sets_have_distance_0_and_are_reported_as_copies(measured, capsys):
    _, folder = measured
    batch = folder / "batch.npz"
    report = json.loads(run(capsys, "--samples", batch, "--data", batch, "--metrics", COMPARED, "--json"))
    assert report["data"] == {"source": "batch.npz", "images": 24}
    assert report["fd"]["distance"] == pytest.approx(0, abs=1e-3) and report["sfd"]["distance"] == pytest.approx(
        0, abs=1e-2
    )
    assert report["pr"]["precision"]["value"] == report["pr"]["recall"]["value"] == 1
    assert report["nn"]["in_pixels"]["nearer"]["value"] == 1 and report["nn"]["in_pixels"]["median_distance"] == 0
    assert (
        report["nn"]["compared_with"] == "24 other training images"
        and report["is"]["score"] == report["is"]["score_of_reference"]
    )


def test_the_report_as_text(measured, digits, capsys, tmp_path):
    _, folder = measured
    printed = run(
        capsys,
        "--samples",
        folder / "work" / "samples",
        "--data",
        digits,
        "--metrics",
        COMPARED,
        "--work",
        tmp_path / "w",
    )
    first, *lines = printed.splitlines()
    assert (
        "24 samples (dpm_solver with 2 steps, eta 0.5, seeds 5 to 28) compared with 60 images" in first
        and "feature-classifier" in first
        and "seed 0" in first
    )
    for words in (
        "Frechet distance",
        "Spatial Frechet distance",
        "Inception Score",
        "Precision",
        "by pixels",
        "by features",
    ):
        assert any(words in line and "±" in line for line in lines), printed
    assert str(tmp_path / "w" / "nearest.png") in lines[-1] and (tmp_path / "w" / "nearest.png").exists()
    assert "Frechet distance" in run(capsys, "--samples", folder / "batch.npz", "--data", digits)


def test_a_class_conditional_checkpoint_is_compared_with_a_batch(measured, random_checkpoint, capsys):
    _, folder = measured
    options = ["--data", folder / "batch.npz", "--metrics", "fd", "--num-images", 3, "--steps", 1, "--json"]
    assert json.loads(run(capsys, "--checkpoint", random_checkpoint, *options))["fd"]["samples"] == 3


def test_nll_of_a_checkpoint_works_with_given_samples(measured, trained_checkpoint, digits, capsys):
    _, folder = measured
    options = ["--samples", folder / "batch.npz", "--data", digits, "--steps", 2, "--json"]
    report = json.loads(run(capsys, "--checkpoint", trained_checkpoint, *options))
    assert report["nll"]["steps"] == 2 and report["fd"]["samples"] == 24


def test_images_with_different_settings_share_none(measured, tmp_path):
    _, folder = measured
    shutil.copytree(folder / "work" / "samples", tmp_path / "mixed")
    Image.new("RGB", (16, 16)).save(tmp_path / "mixed" / "a.png")
    samples = load_samples(tmp_path / "mixed")
    assert samples.settings == {} and samples.images.shape == (25, 3, 16, 16) and not samples.images[0].any()


def test_images_of_which_one_has_other_settings_share_none(measured, tmp_path):
    _, folder = measured
    shutil.copytree(folder / "work" / "samples", tmp_path / "mixed")
    shared = load_samples(tmp_path / "mixed").settings
    assert shared["steps"] == 2 and shared["seeds"] == [5, 28]
    file = sorted((tmp_path / "mixed").iterdir())[-1]
    with Image.open(file) as image:
        save_png(file, image.copy(), read_settings(file) | {"steps": 3})
    assert load_samples(tmp_path / "mixed").settings == {}


def test_the_report_tells_distances_in_pixels_from_those_in_features():
    def share(value):
        return {"value": value, "standard_error": 0.01}

    kinds = {
        f"in_{kind}": {"nearer": share(first), "much_nearer": share(first / 10), "ratio": share(first + 1)}
        for kind, first in (("pixels", 0.6), ("features", 0.3))
    }
    metric = {"training": 50, "compared_with": "20 held-out images", "sheet": None} | kinds
    head, pixels, features = report_lines({"nn": metric})
    assert "Nearest of 50 training images" in head and "20 held-out images" in head
    assert "by pixels: 60% ± 1%" in pixels and ", 6% ± 1% are nearer" in pixels and "medians 1.60 ± 0.01" in pixels
    assert "by features: 30% ± 1%" in features and ", 3% ± 1% are" in features and "medians 1.30 ± 0.01" in features


@pytest.fixture
def invalid_files(measured, tmp_path, monkeypatch):
    _, folder = measured
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "batch.npz", "batch.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    np.savez("wide.npz", np.zeros((30, 8, 16, 3), np.uint8))
    np.savez("large.npz", np.zeros((30, 32, 32, 3), np.uint8))
    for name, sizes in (("mixed_sizes", [(8, 8), (9, 9)]), ("oblong", [(8, 9)])):
        (tmp_path / name).mkdir()
        for i, size in enumerate(sizes):
            Image.new("RGB", size).save(tmp_path / name / f"{i}.png")
    shutil.copytree("oblong", "damaged")
    (tmp_path / "damaged" / "1.png").write_bytes(b"no image")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--samples"),
        (["--samples", "nowhere.npz"], "No file at nowhere.npz"),
        (["--samples", "nowhere"], "No file or folder at nowhere"),
        (["--samples", "broken.npz"], "broken.npz"),
        (["--samples", "wide.npz"], "16 x 8"),
        (["--samples", "mixed_sizes"], "squares of one size"),
        (["--samples", "oblong"], "squares of one size"),
        (["--samples", "damaged"], "1.png"),
        (["--samples", "batch.npz", "--metrics", "nll"], "--checkpoint"),
        (["--samples", "batch.npz", "--metrics", "nn", "--data", "large.npz"], "16 x 16"),
        (["--samples", "batch.npz", "--data", "broken.npz"], "broken.npz"),
        (["--samples", "batch.npz", "--save-npz", "away/batch.npz"], "away"),
        (["--samples", "batch.npz", "--save-npz", "batch.zip"], "batch.zip"),
        (["--samples", "batch.npz", "--metrics", "nn", "--work", "batch.npz"], "Cannot write to batch.npz"),
        (["CHECKPOINT", "--data", "batch.npz", "--metrics", "nll"], "nll"),
        (["CHECKPOINT", "--metrics", "pr", "--num-images", "19", "--work", "work"], "at least 20 samples"),
        (["CHECKPOINT", "--metrics", "nn", "--data", "large.npz", "--work", "work"], "16 x 16"),
    ],
)
def test_invalid_options_are_rejected_on_one_line(invalid_files, random_checkpoint, digits, capsys, arguments, words):
    before = sorted(path.name for path in invalid_files.iterdir())
    arguments = arguments if "--data" in arguments else ["--data", digits, *arguments]
    if "CHECKPOINT" in arguments:
        place = arguments.index("CHECKPOINT")
        arguments[place : place + 1] = ["--checkpoint", random_checkpoint]
    code = main(["evaluate", *map(str, arguments)])
    printed = capsys.readouterr()
    assert code == 2 and words in printed.err and printed.err.endswith(".\n") and printed.err.count("\n") == 1, (
        printed.err
    )
    assert printed.out == "" and sorted(path.name for path in invalid_files.iterdir()) == before


def test_missing_inception_is_reported_before_sampling(invalid_files, random_checkpoint, digits, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    before = sorted(path.name for path in invalid_files.iterdir())
    options = ["--metrics", "fd", "--features", "inception", "--work", "work", "--save-npz", "new.npz"]
    code = main(["evaluate", "--checkpoint", str(random_checkpoint), "--data", str(digits), *options])
    assert code == 2 and "pip install torch-fidelity" in capsys.readouterr().err
    assert sorted(path.name for path in invalid_files.iterdir()) == before
