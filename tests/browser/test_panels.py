"""Panels of the Inspect tab: browser tests of every panel, with changes of t, image and model."""

import re

import pytest
from PIL import Image, ImageSequence
from playwright.sync_api import expect

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.ui.inspect import panels
from diffusion_demo.ui.inspect.examples import default_images
from diffusion_demo.ui.inspect.panels import training
from diffusion_demo.ui.inspect.panels.scene import load_scene
from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS

SOON = 120_000


def open_inspect(open_page, viewport=DESKTOP, theme="light"):
    page = open_page(viewport, theme)
    page.get_by_role("tab", name="Inspect").click()
    page.locator("#panel-markov .panel").wait_for(timeout=SOON)
    return page


def turn_to(page, panel):
    page.get_by_role("radio", name=panels.TITLES[panel]).check()
    shown = page.locator(f"#panel-{panel}")
    shown.locator(".panel").wait_for(timeout=SOON)
    return shown


def let_t_go_at(page, t):
    page.locator("#inspector .t").fill(str(t))
    page.locator("#inspector .t").dispatch_event("change")


def test_every_panel_shows_typeset_mathematics_and_an_image(open_page):
    page = open_inspect(open_page)
    for panel in panels.TITLES:
        shown = turn_to(page, panel)
        assert shown.locator("math").first.bounding_box()["height"] > 10
        assert shown.locator("img, svg").count() > 0
        assert all(shown.locator("img").evaluate_all("images => images.map(i => i.naturalWidth > 0)"))
        page.screenshot(path=SCREENSHOTS / f"inspect-{panel}-desktop-light.png", full_page=True)


def test_the_open_panel_follows_t_with_the_cores_numbers(open_page):
    page = open_inspect(open_page)
    shown = turn_to(page, "training")
    let_t_go_at(page, 700)
    expect(shown).to_contain_text("At t = 700", timeout=SOON)
    scene = load_scene(
        *default_images(),
        0,
        0.7,
        load_checkpoint(CHECKPOINTS / "avatars-32"),
    )
    mean, error = (float(number) for number in shown.locator(".simple").inner_text().split(" ± "))
    assert training.estimate_loss(scene) == (pytest.approx(mean, abs=2e-4), pytest.approx(error, abs=2e-4))


def test_a_perfect_model_can_be_asked_and_has_no_classes_to_guide(open_page):
    page = open_inspect(open_page)
    shown = turn_to(page, "guidance")
    expect(shown).to_contain_text("strongest first")
    page.get_by_role("combobox", name="Model").last.click()
    page.get_by_role("option", name=re.compile("knows the sixteen images by heart")).last.click()
    expect(shown).to_contain_text("knows no classes", timeout=SOON)
    expect(page.locator("#lesson .perfect")).to_contain_text("no network")
    expect(turn_to(page, "reverse")).to_contain_text("this model's, fixed")


def test_the_whole_bound_is_measured_while_one_watches(open_page):
    page = open_inspect(open_page)
    shown = turn_to(page, "bound")
    expect(shown).to_contain_text("a chain of 25 steps")
    page.get_by_role("button", name="Measure over all steps").click()
    expect(shown).to_contain_text("of 1,000 steps", timeout=SOON)
    expect(shown.locator(".total")).to_have_text(re.compile(r"\d\.\d{4}"), timeout=3 * SOON)


def test_the_walk_can_be_kept_as_an_animation(open_page, tmp_path):
    page = open_inspect(open_page)
    page.get_by_role("button", name="Create animation").click()
    page.locator("#walk").wait_for(timeout=SOON)
    with page.expect_download() as download:
        page.locator("#walk").click()
    assert download.value.suggested_filename == "walk_t250_seed0.webp"
    download.value.save_as(tmp_path / "walk.webp")
    with Image.open(tmp_path / "walk.webp") as walk:
        assert walk.format == "WEBP" and len(ImageSequence.all_frames(walk)) > 20


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_panels_are_no_wider_than_a_phone(open_page, theme):
    page = open_inspect(open_page, PHONE, theme)
    page.wait_for_timeout(1000)
    page.screenshot(path=SCREENSHOTS / f"inspect-panels-phone-{theme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
