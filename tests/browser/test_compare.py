"""Sample, Compare: browser tests."""

import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS
from tests.browser.test_sample_tab import open_more, set_number

STATUS = "#compare-status"


def turn_to(page, rows="Sampler", columns="Network calls"):
    page.get_by_role("tab", name="Compare").click()
    for side, setting in (("Columns", columns), ("Rows", rows)):
        choice = page.get_by_role("combobox", name=side, exact=True)
        if choice.input_value() != setting:
            choice.click()
            with page.expect_response(lambda response: "/run/" in response.url):
                page.get_by_role("option", name=setting, exact=True).click()
            expect(page.get_by_role("listbox")).to_have_count(0)


def compare(page, cells):
    page.locator("#compare").click()
    expect(page.locator(STATUS)).to_contain_text(f"{cells} cell{'s' * (cells != 1)} in", timeout=120_000)


def grid_of(page, path):
    with page.expect_download() as download:
        page.locator("#grid").get_by_role("link").click()
    download.value.save_as(path)
    with Image.open(path) as image:
        return json.loads(image.info["diffusion_demo"]), np.asarray(image.convert("RGB"), int)


@pytest.mark.parametrize(("name", "viewport", "theme"), [("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")])
def test_two_settings_against_each_other_in_one_image_with_its_settings(open_page, tmp_path, name, viewport, theme):
    page = open_page(viewport, theme)
    turn_to(page)
    page.get_by_label("Column values").fill("2, 4")
    page.get_by_role("checkbox", name="DDPM").uncheck()
    set_number(page, "Images per cell", 1)
    compare(page, 4)
    settings, pixels = grid_of(page, tmp_path / "grid.png")
    assert settings["across"] == {"setting": "calls", "values": [2, 4]}
    assert settings["down"] == {"setting": "sampler", "values": ["dpm_solver", "ddim"]}
    assert (settings["made_by"], settings["seed"], settings["guidance_scale"]) == ("compare", 0, 1.0)
    assert (pixels < 60).all(-1).any(), "no letters were drawn"
    expect(page.locator("#history .strip button")).to_have_count(1)
    page.screenshot(path=SCREENSHOTS / f"sample-compared-{name}-{theme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator("#history .strip button").click()
    expect(page.locator(".viewer .words")).to_have_text("Comparison: network calls 2, 4 × sampler DPM-Solver++, DDIM.")
    expect(page.locator(".viewer .vary")).to_be_hidden()


def test_models_and_classes_are_chosen_by_name(open_page, tmp_path):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-way .prose.hint")).to_contain_text("The column caps the network calls of each cell")
    expect(page.get_by_label("number input for Network calls per image")).to_be_hidden()
    turn_to(page, rows="Class", columns="Model")
    expect(page.locator("#compare-way .prose.hint")).to_contain_text("Each cell uses the same number of network calls")
    expect(page.get_by_role("checkbox", name="block person", exact=True)).to_be_checked()
    expect(page.get_by_role("checkbox", name="smiley", exact=True)).not_to_be_checked()
    turn_to(page, rows="None", columns="Class")
    set_number(page, "Images per cell", 1)
    set_number(page, "Network calls per image", 2)
    compare(page, 3)
    settings, _ = grid_of(page, tmp_path / "grid.png")
    assert len(settings["across"]["values"]) == 3 and "down" not in settings


def test_stop_leaves_what_is_done_and_the_page_ready(open_page, tmp_path):
    page = open_page()
    turn_to(page, rows="None", columns="Steps")
    page.get_by_label("Column values").fill("1, 200")
    page.locator("#compare").click()
    expect(page.locator(STATUS)).to_contain_text("Cell 2 of 2, step", timeout=60_000)
    page.keyboard.press("Escape")
    expect(page.locator(STATUS)).to_contain_text("Stopped")
    expect(page.locator("#compare")).to_be_enabled()
    settings, _ = grid_of(page, tmp_path / "part.png")
    assert settings["across"]["values"] == [1, 200]
    page.get_by_label("Column values").fill("1")
    compare(page, 1)


@pytest.mark.parametrize(
    ("columns", "values", "words"),
    [
        ("Steps", "1, two", 'Steps must be whole numbers ("two"'),
        ("Seed", ", ".join(map(str, range(22))), "66 cells, more than the limit of 64"),
        ("Network calls", "1", "at least 2 network calls"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(open_page, columns, values, words):
    page = open_page()
    open_more(page)
    set_number(page, "Guidance", 2)
    turn_to(page, columns=columns)
    page.wait_for_timeout(2000)  # the first updates of a page put the default values back
    page.get_by_label("Column values").fill(values)
    page.locator("#compare").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text(words)
    expect(page.locator("#compare")).to_be_enabled()
