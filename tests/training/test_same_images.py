"""A run is resumed with its own images, wherever they lie and whatever they are called, and with no others."""

import json
import shutil

import pytest
import torch
from PIL import Image

from diffusion_demo.errors import BadInput
from diffusion_demo.training.loop import Budget
from diffusion_demo.training.run_folder import RunFolder
from tests.training.events import latest_checkpoint, of_type, weights_of


@pytest.fixture
def images(digits, tmp_path):
    """Return a copy of the digits that a test may change."""
    return shutil.copytree(digits, tmp_path / "images")


def as_written_by_0_1_0(run):
    content = json.loads(run.config_file.read_text())
    for name in ("content_digest", "order_digest"):
        del content["data"][name]
    content["data"] |= {"pictures": content["data"].pop("images"), "greyscale": content["data"].pop("grayscale")}
    run.config_file.write_text(json.dumps(content))


@pytest.mark.parametrize("release", ["this", "0.1.0"])
def test_a_run_resumes_after_its_folder_was_renamed_and_to_the_bit(train, run, images, tmp_path, release):
    straight = RunFolder(tmp_path / "straight")
    list(train(Budget(max_steps=4), data=str(images), run=straight))
    list(train(Budget(max_steps=2), data=str(images)))
    if release == "0.1.0":
        as_written_by_0_1_0(run)
    images.rename(tmp_path / "renamed")
    list(train(Budget(max_steps=4), resume=True, data=str(tmp_path / "renamed")))
    resumed, never_stopped = (weights_of(latest_checkpoint(each)) for each in (run, straight))
    assert all(torch.equal(resumed[name], never_stopped[name]) for name in never_stopped)
    assert not [event for event in of_type(run.path, "warned") if "renamed" in event["message"]]


def swap_an_image(images):
    shutil.copy(images / "one" / "001.png", images / "one" / "000.png")


def swap_two_classes(images):
    (images / "one").rename(images / "aside")
    (images / "two").rename(images / "one")
    (images / "aside").rename(images / "two")


def turn_all_images(images):
    for path in images.rglob("*.png"):
        Image.open(path).rotate(180).save(path)


@pytest.mark.parametrize("change", [swap_an_image, swap_two_classes, turn_all_images])
def test_a_run_is_not_resumed_with_other_images_or_classes(train, run, images, change):
    list(train(Budget(max_steps=1), data=str(images)))
    before = run.events_file.read_bytes()
    change(images)
    with pytest.raises(BadInput, match=r"or their classes differ .* Restore them, or start a new run"):
        list(train(Budget(max_steps=2), resume=True, data=str(images)))
    assert run.events_file.read_bytes() == before


def test_a_run_resumes_after_files_were_renamed_and_says_that_batches_are_in_another_order(train, run, images):
    list(train(Budget(max_steps=1), data=str(images)))
    (images / "one" / "000.png").rename(images / "one" / "zzz.png")
    list(train(Budget(max_steps=2), resume=True, data=str(images)))
    assert [event["message"] for event in of_type(run.path, "warned") if "were renamed" in event["message"]]
    assert of_type(run.path, "finished")[-1]["step"] == 2


def test_a_resumed_run_holds_out_what_it_held_out_before(train, run, images, monkeypatch):
    """An older release, or a later one, may choose other images."""
    list(train(Budget(max_steps=1), data=str(images)))
    content = json.loads(run.config_file.read_text())
    content["data"]["held_out_digests"] = content["data"]["held_out_digests"][:1]
    run.config_file.write_text(json.dumps(content))
    list(train(Budget(max_steps=2), resume=True, data=str(images)))
    first, second = of_type(run.path, "held_out")
    assert first["loss"] != second["loss"] and of_type(run.path, "finished")[-1]["step"] == 2


def test_a_run_without_duplicates_is_resumed_without_them(train, run, digits, tmp_path):
    shutil.copytree(digits, tmp_path / "copies")
    shutil.copy(digits / "one" / "000.png", tmp_path / "copies" / "one" / "again.png")
    list(train(Budget(max_steps=1), data=str(tmp_path / "copies"), drop_duplicates=True))
    assert run.read_config()[1]["images"] == 60 and run.read_config()[1]["copies"] == 0
    list(train(Budget(max_steps=2), data=str(tmp_path / "copies"), drop_duplicates=True, resume=True))
    assert run.events()[-1]["step"] == 2
