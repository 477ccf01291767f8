"""Sample, Variations: browser tests of variations and blends."""

import json
import re
import zipfile

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, ROOT, SCREENSHOTS, open_part
from tests.browser.test_sample_tab import choose_class, choose_model, generate, set_number, set_seed

KEPT = "#history .strip button"
DONE = re.compile("images? in")


def open_vary(page, made_images=2, steps=3):
    page.get_by_role("tab", name="Variations").click()
    set_number(page, "Number of images", made_images)
    open_part(page, "More settings")
    set_number(page, "Denoising steps", steps)


def finish(page, button):
    status = page.locator("#vary-stage .status")
    before = status.inner_text()
    page.locator(button).click()
    expect(status).not_to_have_text(before)
    expect(status).to_contain_text(DONE, timeout=120_000)


def zipped(page, folder):
    with page.expect_download() as download:
        page.locator("#vary-zip").click()
    download.value.save_as(folder / "all.zip")
    with zipfile.ZipFile(folder / "all.zip") as archive:
        archive.extractall(folder)
        return archive.namelist()


def test_a_visitor_can_vary_at_once_and_less_noise_stays_nearer(open_page, tmp_path):
    page = open_page()
    open_vary(page, made_images=2, steps=8)
    shown = page.locator("#vary-one img")
    first = np.asarray(Image.open(_saved(page, shown, tmp_path / "first.png")).convert("RGB"), int)
    apart = {}
    for far in (10, 95):
        set_number(page, "Strength (%)", far)
        finish(page, "#vary")
        names = zipped(page, tmp_path)
        expect(page.locator("#vary-stage .cell")).to_have_count(2)
        apart[far] = np.mean([np.abs(np.asarray(Image.open(tmp_path / name), int) - first).mean() for name in names])
    assert apart[10] < 0.5 * apart[95]
    page.screenshot(path=SCREENSHOTS / "sample-varied-desktop-light.png", full_page=True)


def test_one_mode_must_end_before_the_other_can_start(open_page):
    page = open_page()
    open_vary(page, made_images=16, steps=250)  # enough that it still runs when Stop is clicked, on any machine
    mode = page.get_by_role("radio", name="Blend two images")
    page.locator("#vary").click()
    expect(page.locator("#vary-way-tab .stops")).to_be_enabled()
    expect(page.locator("#vary-way")).to_have_js_property("inert", True)
    page.locator("#vary-way-tab .stops").click()
    expect(page.locator("#vary")).to_be_enabled(timeout=60_000)
    expect(page.locator("#vary-way")).to_have_js_property("inert", False)
    mode.check()
    expect(page.locator("#blend")).to_be_visible()


def _saved(page, image, path):
    path.write_bytes(page.request.get(image.get_attribute("src")).body())
    return path


def test_an_image_is_varied_from_the_viewer_with_its_own_class_and_model(open_page, tmp_path):
    page = open_page()
    choose_class(page, "robot")
    set_seed(page, 60)
    generate(page, images=1, steps=2)
    choose_model(page, "run, step 12")
    page.locator(KEPT).click()
    page.locator(".viewer").get_by_role("button", name="Make variations").click()
    switched = "Switched to Avatars, 32x32 (bundled), which made this image."
    expect(page.get_by_test_id("toast-body")).to_contain_text(switched)
    expect(page.get_by_role("combobox", name="Model").first).to_have_value("Avatars, 32x32 (bundled)")
    expect(page.locator("#class-cards").get_by_role("radio", name="robot", exact=True)).to_be_checked()
    open_vary(page)
    expect(page.locator("#vary-one img")).to_have_attribute("src", re.compile("seed_00000060"))
    page.locator("#vary-seed input").fill("5")
    expect(page.get_by_label("Randomize seed").last).not_to_be_checked()
    finish(page, "#vary")
    names = zipped(page, tmp_path)
    assert names == ["vary_seed_00000005_00.png", "vary_seed_00000005_01.png"]
    with Image.open(tmp_path / names[1]) as image:
        settings = json.loads(image.info["diffusion_demo"])
    assert (settings["made_by"], settings["seed"], settings["class"], settings["checkpoint"]) == (
        "vary",
        6,
        "robot",
        "avatars-32",
    )
    assert settings["of"][0]["seed"] == 60
    expect(page.locator(KEPT)).to_have_count(3)
    page.locator(KEPT).first.click()
    expect(page.locator(".viewer .words")).to_contain_text(
        "Avatars, 32x32 (bundled): variation, strength 50 %, robot, seed 5"
    )
    expect(page.get_by_role("button", name="Use these settings")).to_be_hidden()


def test_another_model_gets_examples_of_its_own_and_a_chosen_image_stays(open_page):
    page = open_page()
    page.get_by_role("tab", name="Variations").click()
    example = page.locator("#vary-one img")
    expect(example).to_have_attribute("src", re.compile("seed_00000000"))
    choose_model(page, "run, step 12")
    expect(example).to_have_count(0)
    choose_model(page, "Exact: memorizes 16 example images")
    expect(example).to_have_attribute("src", re.compile("seed_00000000"))
    page.get_by_role("button", name="Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.locator("#vary-one input[type=file]").set_input_files(ROOT / "checkpoints" / "avatars-32" / "grid.png")
    expect(example).to_have_attribute("src", re.compile("grid"))
    choose_model(page, "run, step 12")
    expect(example).to_have_attribute("src", re.compile("grid"))


def test_between_two_images_from_the_history(open_page, tmp_path):
    page = open_page()
    set_seed(page, 70)
    generate(page, images=2, steps=2)
    expect(page.locator(KEPT)).to_have_count(2)
    for index, button, field in ((0, "Blend with another…", "#vary-one"), (1, "Use as second image", "#vary-two")):
        page.locator(KEPT).nth(index).click()
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator(f"{field} img")).to_have_attribute("src", re.compile(f"seed_0000007{index}"))
        if index == 0:  # the second image is still to be chosen
            expect(page.get_by_test_id("toast-body")).to_contain_text("add the second image")
            expect(page.locator("#vary-two img")).to_have_count(0)
    open_vary(page, made_images=3)
    set_number(page, "Strength (%)", 5)
    finish(page, "#blend")
    names = zipped(page, tmp_path)
    made = [np.asarray(Image.open(tmp_path / name), int) for name in names]
    with Image.open(tmp_path / names[0]) as image:
        assert [source["seed"] for source in json.loads(image.info["diffusion_demo"])["of"]] == [70, 71]
    middle = (made[0] + made[2]) / 2
    assert np.abs(made[1] - middle).mean() < min(np.abs(made[1] - made[0]).mean(), np.abs(made[1] - made[2]).mean())


def test_a_file_that_is_no_image_is_one_sentence(open_page, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    page = open_page()
    open_vary(page)
    page.locator("#vary-one").get_by_label("Clear").or_(
        page.locator("#vary-one").get_by_label("Remove Image")
    ).first.click()
    page.locator("#vary").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("No image yet")
    page.get_by_test_id("toast-close").click()
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
    page.locator("#vary-one input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(page.get_by_test_id("toast-body")).to_contain_text("isn't a readable image")
    expect(page.locator("#vary-one img")).to_have_count(0)
    expect(page.locator("#vary-one input[type=file]")).to_have_count(1)
    expect(page.locator("#vary")).to_be_enabled()


def test_stop_in_the_middle_leaves_the_page_ready(open_page):
    page = open_page()
    open_vary(page, made_images=8, steps=250)
    page.locator("#vary").click()
    expect(page.locator("#vary-stage .status")).to_have_text(re.compile(r"Step [1-9]\d* of 250"), timeout=60_000)
    page.keyboard.press("Escape")
    expect(page.locator("#vary-stage .status")).to_contain_text("Stopped.")
    expect(page.locator("#vary")).to_be_enabled()


def test_a_stop_changes_nothing_of_the_other_mode_or_of_the_next_run(open_page):
    page = open_page()
    open_vary(page, made_images=16, steps=250)
    status, mode = page.locator("#vary-stage .status"), page.get_by_role("radio", name="Blend two images")
    page.locator("#vary").click()
    page.locator("#vary-way-tab .stops").click()  # as soon as it is enabled
    expect(status).to_contain_text("Stopped.")
    expect(page.locator("#vary")).to_be_enabled()
    mode.check()
    expect(page.locator("#blend")).to_have_text("Blend")
    expect(page.locator("#blend")).to_be_enabled()
    page.locator("#blend").click()
    expect(page.locator("#blend")).to_have_text("Working …", timeout=60_000)
    page.wait_for_timeout(12_000)  # Stop gives up waiting for the server after ten seconds
    expect(status).to_have_text(re.compile(r"Step \d+ of 250"))
    expect(status).to_contain_text("16 images in", timeout=120_000)


def test_cells_without_an_image_have_the_color_of_the_page_from_the_first_step(open_page):
    page = open_page(theme="dark")
    open_vary(page, made_images=5, steps=250)
    page.locator("#vary").click()
    expect(page.locator("#vary-stage .status")).to_have_text(re.compile(r"Step [1-9]\d* of 250"), timeout=60_000)
    expect(page.locator("#vary-stage .cells .blank")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#vary-stage .status")).to_contain_text("Stopped.")
    expect(page.locator("#vary-stage .cells .blank")).to_have_count(1)


def test_an_empty_stage_offers_no_downloads_on_a_phone(open_page):
    page = open_page(PHONE)
    expect(page.locator("#zip")).to_be_hidden()
    page.get_by_role("tab", name="Variations").click()
    expect(page.locator("#vary-stage .invitation")).to_be_visible()
    expect(page.locator("#vary-zip")).to_be_hidden()
