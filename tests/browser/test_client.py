"""Named API endpoints of the page, called with gradio_client."""

import json
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.browser.conftest import ROOT

SHOWCASE = ROOT / "checkpoints" / "avatars-32" / "showcase"


@pytest.fixture(scope="module")
def client(url, tmp_path_factory):
    return Client(url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def settings_in(path):
    with Image.open(path) as image:
        return json.loads(image.info["diffusion_demo"])


def files(gallery):
    return [entry["image"] for entry in gallery]


def test_sample_with_the_parameters_that_it_always_had(client):
    _stage, gallery, archive, *_, sheet, animation, larger = client.predict(
        "avatars-32", "robot", 2, "ddim", 3, 2.0, 0.0, 41, api_name="/sample"
    )
    first, second = map(settings_in, files(gallery))
    assert (first["seed"], second["seed"], first["class"], first["steps"], first["sampler"]) == (
        41,
        42,
        "robot",
        3,
        "ddim",
    )
    assert first["guidance_interval"] == [400, 999] and "classifier_scale" not in first
    assert Path(archive["value"]).suffix == ".zip"
    assert [Path(download["value"]).suffix for download in (sheet, animation, larger)] == [".png", ".webp", ".zip"]


def test_sample_with_what_is_new_and_with_nothing_at_all(client):
    _, gallery, *_ = client.predict(
        num_images=1, steps=2, guidance_scale=2, guide_from=10, guide_to=90, api_name="/sample"
    )
    settings = settings_in(files(gallery)[0])
    assert settings["guidance_interval"] == [100, 899] and settings["checkpoint"] == "avatars-32"
    with pytest.raises(AppError, match="has no classifier"):
        client.predict(
            model="oracle-memory", num_images=1, steps=2, guidance_scale=1, classifier_scale=3, api_name="/sample"
        )
    with pytest.raises(AppError, match="No upsampler fits"):
        client.predict(model="run/step_000012", num_images=1, steps=2, guidance_scale=1, twice=True, api_name="/sample")


def test_compare(client):
    _status, grid, *_ = client.predict(
        across="guidance_scale", columns="1, 3", down="none", calls=4, per_cell=1, seed=9, api_name="/compare"
    )
    settings = settings_in(grid)
    assert settings["across"] == {"setting": "guidance_scale", "values": [1.0, 3.0]} and settings["seed"] == 9


def test_vary_and_interpolate(client):
    a, b = (handle_file(str(path)) for path in sorted(SHOWCASE.glob("seed_*.png"))[:2])
    _, gallery, *_ = client.predict(picture=a, how_far=40, num_images=2, steps=2, seed=3, api_name="/vary")
    assert [settings_in(path)["seed"] for path in files(gallery)] == [3, 4]
    assert settings_in(files(gallery)[0])["of"][0]["seed"] == 0
    _, gallery, *_ = client.predict(
        picture=a, other=b, how_far=40, num_images=3, steps=2, seed=3, api_name="/interpolate"
    )
    assert [source["seed"] for source in settings_in(files(gallery)[2])["of"]] == [0, 1]


def test_what_is_wrong_is_said(client):
    with pytest.raises(AppError, match="Choose Sampler from the list"):
        client.predict(sampler="euler", api_name="/sample")
    with pytest.raises(AppError, match="oracle-memory has no classifier"):
        client.predict(
            model="oracle-memory",
            guidance_scale=1,
            across="classifier_scale",
            columns="0, 1",
            down="none",
            api_name="/compare",
        )
    with pytest.raises(AppError, match="Seeds must be whole numbers"):
        client.predict(across="seed", columns="x", down="none", api_name="/compare")


def test_every_endpoint_that_is_shown_has_a_name_of_its_own(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {"/sample", "/compare", "/vary", "/interpolate"} <= set(named)
    assert not [name for name in named if "lambda" in name or name.startswith("/_")]
