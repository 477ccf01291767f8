"""The `evaluate` command and the bound: reports, resuming, invalid input."""

import json
import os
import shutil

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from diffusion_demo.cli import main
from diffusion_demo.data import ImageTensors, ImageTransform, load, load_transformed, scan
from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation import nll
from diffusion_demo.evaluation.class_matching import class_indices, specs_in_data_proportions
from diffusion_demo.evaluation.nll import measure_bound
from diffusion_demo.evaluation.reference import Preparation, load_reference
from diffusion_demo.evaluation.samples import draw_samples
from diffusion_demo.images import read_settings, save_png, to_float
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.sampling.generate import SeededNoise
from diffusion_demo.sampling.request import Request, image_specs


@pytest.fixture(scope="module")
def trained(trained_checkpoint):
    return load_checkpoint(trained_checkpoint)


@pytest.fixture(scope="module")
def report(digits):
    return scan(digits)


@pytest.fixture(scope="module")
def dataset(report):
    return load(report, 16, 1, held_out=False)


def first_images(dataset, count):
    return ImageTensors(dataset.images[:count], dataset.labels[:count])


def test_the_bound_is_the_sum_of_its_terms_with_the_noise_of_each_seed(trained, dataset):
    bound = measure_bound(trained, first_images(dataset, 3), seed=5)
    x0 = to_float(dataset.images[2:3])
    noise = SeededNoise([7], (1, 16, 16), torch.device("cpu"))
    with torch.no_grad():
        terms = list(
            bound_terms(
                as_denoiser(trained.unet, "fp32"), trained.diffusion, x0, noise, class_labels=dataset.labels[2:3]
            )
        )
    assert bound.bits.shape == (3, 100) and bound.timesteps.tolist() == list(range(100))
    torch.testing.assert_close(
        bound.bits[2], torch.cat([term.bits for term in terms]).flip(0).double(), rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(bound.prior[2:3], prior_bits(trained.diffusion, x0).double())


def test_the_parts_of_a_report_add_up(trained, dataset):
    bound = measure_bound(trained, first_images(dataset, 5), steps=10)
    report = bound.report()
    assert (
        report["images"] == 5 and report["steps"] == 10 and len(report["curve"]) == len(report["rate_distortion"]) == 10
    )
    assert report["bits_per_dim"] == pytest.approx(report["L_0"] + report["L_1 to L_T-1"] + report["L_T"])
    assert report["bits_per_dim"] == pytest.approx(report["L_T"] + sum(row["bits"] for row in report["curve"]))
    totals = bound.prior + bound.bits.sum(1)
    assert report["standard_error"] == pytest.approx(float(totals.std()) / 5**0.5)
    assert [row["t"] for row in report["curve"]] == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert report["rate_distortion"][0]["t"] == 99 and report["rate_distortion"][-1]["t"] == 0


def rewrite_as_0_1_0(file):
    with safe_open(file, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not iterable itself
        metadata = stored.metadata()
    save_file(tensors, file, metadata | {"pictures": metadata.pop("images")})


def test_a_full_disk_ends_a_measurement_in_one_sentence_and_leaves_no_folder(trained, dataset, tmp_path, monkeypatch):
    def fail(*arguments, **named):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(nll, "save_file", fail)
    with pytest.raises(
        BadInput, match=r"^Cannot write to .*work \(No space left on device\)\. Choose another folder\.$"
    ):
        measure_bound(trained, first_images(dataset, 4), steps=2, work=tmp_path / "new" / "work")
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(60)
def test_a_pipe_among_partial_results_is_not_waited_for(trained, dataset, tmp_path):
    os.mkfifo(tmp_path / "bound_00000000.safetensors")
    with pytest.raises(BadInput, match="not a regular file"):
        measure_bound(trained, first_images(dataset, 4), steps=2, work=tmp_path)


def test_an_interrupted_measurement_resumes_even_if_the_previous_release_began_it(trained, dataset, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(count):
        raise Interrupted

    with pytest.raises(Interrupted):
        measure_bound(trained, first_images(dataset, 20), steps=4, work=tmp_path, progress=interrupt)
    (kept,) = tmp_path.iterdir()
    rewrite_as_0_1_0(kept)
    before = kept.stat().st_mtime_ns
    whole = measure_bound(trained, first_images(dataset, 20), steps=4, work=tmp_path)
    assert kept.stat().st_mtime_ns == before and len(list(tmp_path.iterdir())) == 2
    torch.testing.assert_close(whole.bits, measure_bound(trained, first_images(dataset, 20), steps=4).bits)
    with pytest.raises(BadInput, match="another measurement"):
        measure_bound(trained, first_images(dataset, 20), steps=5, work=tmp_path)
    kept.write_bytes(kept.read_bytes()[:100])
    torch.testing.assert_close(
        measure_bound(trained, first_images(dataset, 20), steps=4, work=tmp_path).bits, whole.bits
    )


def test_classes_are_matched_by_name_and_unknown_ones_get_the_null_class():
    description = CheckpointMetadata(16, 1, 100, ("one", "three", "two"), guidance=True)
    assert class_indices(("five", "two"), description).tolist() == [3, 2, 3]
    assert class_indices((), CheckpointMetadata(16, 1, 100)).tolist() == [0]
    for names in (("five", "two"), ()):
        with pytest.raises(BadInput, match="one, three, two"):
            class_indices(names, CheckpointMetadata(16, 1, 100, ("one", "three", "two"), guidance=False))
    with pytest.raises(BadInput, match="one, three, two"):
        class_indices(("five", "two"), CheckpointMetadata(16, 1, 100, ("one", "three", "two"), guidance=False))


def test_samples_have_the_class_proportions_of_the_data(report):
    description = CheckpointMetadata(16, 1, 100, ("one", "three", "two"), guidance=True)
    specs = specs_in_data_proportions(report.classes, description, Request(num_images=8, seed=5))
    assert [image.seed for image in specs] == list(range(5, 13))
    for end in range(1, 9):
        prefix = [image.class_index for image in specs[:end]]
        assert all(abs(prefix.count(index) - end / 3) < 1 for index in range(3))
    rare = specs_in_data_proportions({"one": 6, "two": 2, "five": 9}, description, Request(num_images=40))
    for end in range(1, 41):
        prefix = [image.class_index for image in rare[:end]]
        assert 1 not in prefix and abs(prefix.count(2) - end / 4) < 1, "the model has no class five"
    assert {
        image.class_index
        for image in specs_in_data_proportions(report.classes, CheckpointMetadata(16, 1, 100), Request(num_images=2))
    } == {None}


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-40]), "other size"])
def test_a_damaged_sample_of_an_earlier_call_is_named(trained, tmp_path, damage):
    request = Request(num_images=2, steps=2, precision="fp32")
    specs = image_specs(request, trained.description)
    draw_samples(trained, "trained", request, specs, tmp_path, lambda count: None)
    path = sorted((tmp_path / "samples").iterdir())[1]
    if damage == "other size":
        settings = read_settings(path)
        save_png(path, Image.new("L", (8, 8)), settings)
    else:
        damage(path)
    with pytest.raises(BadInput, match=rf"{path.name} is .*\. Remove it, and it will be sampled again\.$"):
        draw_samples(trained, "trained", request, specs, tmp_path, lambda count: None)
    path.unlink()
    assert len(draw_samples(trained, "trained", request, specs, tmp_path, lambda count: None).images) == 2


@pytest.mark.parametrize("option", [("--num-images", "0"), ("--eta", "7"), ("--guidance-scale", "-1")])
def test_an_option_that_nothing_uses_is_checked_as_well(trained_checkpoint, digits, capsys, option):
    arguments = ("evaluate", "--checkpoint", trained_checkpoint, "--data", digits, "--metrics", "nll", *option)
    assert main(list(map(str, arguments))) == 2
    line = capsys.readouterr().err
    assert f"not {option[1]}" in line and line.count("\n") == 1


def test_the_command_reports_both_metrics_reproducibly(command, trained_checkpoint, digits, tmp_path):
    arguments = [
        "evaluate",
        "--checkpoint",
        trained_checkpoint,
        "--data",
        digits,
        "--steps",
        5,
        "--num-images",
        20,
        "--work",
        "work",
        "--json",
    ]
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["nll"]["held_out"] and report["nll"]["images"] == scan(digits).summary()["held_out"]
    assert (
        report["fd"]["samples"] == 20
        and report["fd"]["reference"] == 60
        and report["fd"]["features"] == "feature-classifier"
    )
    assert report["fd"]["interval"][0] < report["fd"]["distance"] < report["fd"]["interval"][1]
    assert len(list((tmp_path / "work" / "samples").iterdir())) == 20
    shutil.rmtree(tmp_path / "work")
    assert json.loads(command(*arguments, cwd=tmp_path).stdout) == report
    plain = command(*arguments[:-1], "--metrics", "fd", cwd=tmp_path)
    assert (
        plain.returncode == 0
        and "Frechet distance" in plain.stdout
        and "20 samples" in plain.stdout
        and "with 60 images" in plain.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metrics", "fid"], "nll, fd, sfd, is, pr, nn"),
        (["--steps", "0"], "from 1 to 100"),
        (["--num-images", "1"], "at least 2 samples"),
        (["--data", "nowhere"], "nowhere. Check the path."),
        (["--checkpoint", "nowhere"], "nowhere"),
    ],
)
def test_invalid_options_are_rejected_on_one_line(
    trained_checkpoint, digits, capsys, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    code = main(
        [
            "evaluate",
            "--checkpoint",
            str(trained_checkpoint),
            "--data",
            str(digits),
            "--metrics",
            "fd",
            "--steps",
            "2",
            *arguments,
        ]
    )
    printed = capsys.readouterr()
    assert code == 2 and words in printed.err.splitlines()[-1] and printed.err.rstrip().endswith("."), printed.err
    assert printed.out == "" and not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wide_images(tmp_path_factory):
    """Forty wide images in one folder, whose classes are in their file names."""
    folder = tmp_path_factory.mktemp("wide") / "images"
    folder.mkdir()
    for i in range(40):
        image = Image.linear_gradient("L").resize((48, 16)).rotate(i).convert("RGB")
        image.save(folder / f"{('one', 'two')[i % 2]}_{i:02d}.png")
    return folder


@pytest.fixture
def padded_checkpoint(random_checkpoint, tmp_path):
    """A checkpoint of a training with --fit pad --background #00ff00 --class-from file_name."""
    shutil.copytree(random_checkpoint, tmp_path / "padded")
    file = tmp_path / "padded" / "diffusion_demo.json"
    fields = {"fit": "pad", "background": "#00ff00", "class_from": "file_name"}
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return tmp_path / "padded"


def evaluated(capsys, checkpoint, folder, *options):
    arguments = ["evaluate", "--checkpoint", checkpoint, "--data", folder, "--metrics", "nll", "--steps", 2, "--json"]
    assert main([*map(str, arguments), *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_images_are_prepared_as_in_the_training_of_the_checkpoint(padded_checkpoint, wide_images, capsys):
    report = evaluated(capsys, padded_checkpoint, wide_images)
    trained_on = scan(wide_images, "file_name")
    images = load_transformed(trained_on, ImageTransform(16, 3, "pad", "#00ff00"), held_out=True)
    assert len(images) and trained_on.class_names == ("one", "two")
    checkpoint = load_checkpoint(padded_checkpoint)
    labels = torch.tensor([0, 2])[images.labels]
    expected = measure_bound(checkpoint, ImageTensors(images.images, labels), 2).report()
    assert report["nll"] == {"held_out": True} | expected
    assert report["data"]["classes"] == {"one": 20, "two": 20} and report["data"]["fit"] == "pad"


def test_the_options_override_the_preparation_of_the_training(
    padded_checkpoint, random_checkpoint, wide_images, capsys
):
    report = evaluated(capsys, padded_checkpoint, wide_images)
    options = ["--fit", "pad", "--background", "#00ff00", "--class-from", "file_name"]
    assert evaluated(capsys, random_checkpoint, wide_images, *options)["nll"] == report["nll"]
    assert evaluated(capsys, padded_checkpoint, wide_images, "--fit", "crop")["nll"] != report["nll"]
    assert evaluated(capsys, padded_checkpoint, wide_images, "--class-from", "folder")["nll"] != report["nll"]


def test_the_reference_of_the_other_metrics_is_prepared_in_the_same_way(wide_images):
    training, held_out = load_reference(wide_images, Preparation("pad", "#00ff00")).parts(16, 3)
    report = scan(wide_images)
    for images, is_held_out in ((training, False), (held_out, True)):
        expected = load_transformed(report, ImageTransform(16, 3, "pad", "#00ff00"), is_held_out).images
        assert torch.equal(images, expected)
    for wrong in (Preparation(fit="stretch"), Preparation(background="green"), Preparation(class_from="nowhere")):
        with pytest.raises(BadInput):
            load_reference(wide_images, wrong)


def test_a_checkpoint_without_these_fields_still_loads_with_the_defaults(trained_checkpoint, tmp_path):
    shutil.copytree(trained_checkpoint, tmp_path / "old")
    file = tmp_path / "old" / "diffusion_demo.json"
    fields = json.loads(file.read_text())
    assert [fields.pop(name) for name in ("fit", "background", "class_from")] == ["crop", "#ffffff", "folder"]
    file.write_text(json.dumps(fields))
    description = load_checkpoint(tmp_path / "old").description
    assert (description.fit, description.background, description.class_from) == ("crop", "#ffffff", "folder")
