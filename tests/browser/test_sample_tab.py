"""Sample, Make: browser tests."""

import json
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, ROOT, SCREENSHOTS, open_part
from tests.models.openai.reference_unet import Settings, random_unet


def set_number(page: Page, label: str, value: int | float) -> None:
    field = page.get_by_label(f"number input for {label}")
    field.fill(str(value))
    field.blur()


def set_seed(page: Page, seed: int) -> None:
    page.get_by_label("New seed every time").uncheck()
    page.get_by_label("Seed", exact=True).fill(str(seed))
    page.get_by_label("Seed", exact=True).blur()


def open_more(page: Page) -> None:
    if not page.get_by_label("number input for Steps").is_visible():
        open_part(page, "More settings")


def set_steps(page: Page, steps: int) -> None:
    open_more(page)
    set_number(page, "Steps", steps)


def generate(page: Page, images: int = 4, steps: int = 4) -> None:
    set_number(page, "Images", images)
    set_steps(page, steps)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_contain_text("images/s, seed", timeout=120_000)


def download_first(page: Page):
    page.locator("#gallery button.thumbnail-lg").first.click()
    with page.expect_download() as download:
        page.locator(".viewer").get_by_role("link", name="Download").click()
    page.keyboard.press("Escape")
    return download.value


def test_finished_images_stand_there_before_any_click(open_page):
    page = open_page()
    thumbnails = page.locator("#gallery button.thumbnail-lg img")
    expect(thumbnails).to_have_count(16)
    assert page.evaluate(
        "[...document.querySelectorAll('#gallery img, #stage img')].every(i => i.complete && i.naturalWidth > 0)"
    )
    expect(page.locator("#stage .status")).to_contain_text("Example result")


def test_sixteen_images_appear_step_by_step(open_page):
    page = open_page()
    set_steps(page, 12)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step \d+ of 12, .* left, .* images/s"))
    first = page.locator("#stage img.xt").get_attribute("src")
    expect(page.locator("#stage img.xt")).not_to_have_attribute("src", first)
    expect(page.locator("#stage .status")).to_contain_text("16 images in", timeout=120_000)
    expect(page.locator("#gallery button.thumbnail-lg")).to_have_count(16)
    assert page.evaluate("getComputedStyle(document.querySelector('#stage img.xt')).imageRendering") == "pixelated"
    assert page.locator("#stage img.xt").bounding_box()["width"] > 300


def test_stop_in_the_middle_leaves_the_page_ready(open_page):
    page = open_page()
    set_steps(page, 250)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step [3-9] of 250"))
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step \d+ of 250, t = \d+\. Stopped\."))
    stopped = page.locator("#stage .status").inner_text()
    page.wait_for_timeout(2000)
    assert page.locator("#stage .status").inner_text() == stopped
    page.locator("#stage .scrub").fill("0")
    expect(page.locator("#stage .status")).to_have_text("The noise it starts from, t = 1000. Stopped.")
    generate(page)
    expect(page.locator("#gallery button.thumbnail-lg")).to_have_count(4)


def test_the_slider_scrubs_through_the_steps_without_a_request(open_page):
    page = open_page()
    generate(page, steps=5)
    page.wait_for_timeout(500)
    requests = []
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    last = page.locator("#stage img.x0").get_attribute("src")
    page.locator("#stage .scrub").fill("0")
    expect(page.locator("#stage .status")).to_contain_text("The noise it starts from, t = 1000")
    page.locator("#stage .scrub").fill("5")
    expect(page.locator("#stage .status")).to_contain_text("Step 5 of 5, t = 0")
    page.locator("#stage .scrub").fill("1")
    expect(page.locator("#stage .status")).to_contain_text("Step 1 of 5, t = 968")
    assert page.locator("#stage img.x0").get_attribute("src") != last
    page.locator("#stage .scrub").press("ArrowRight")
    expect(page.locator("#stage .status")).to_contain_text("Step 2 of 5")
    assert not [url for url in requests if "heartbeat" not in url]


def test_a_downloaded_image_carries_its_settings_and_gives_them_back(open_page, tmp_path):
    page = open_page()
    set_seed(page, 41)
    generate(page, images=2, steps=3)
    download = download_first(page)
    path = tmp_path / download.suggested_filename
    download.save_as(path)
    assert path.name == "seed_00000041.png"
    with Image.open(path) as image:
        settings = json.loads(image.info["diffusion_demo"])
    assert (settings["seed"], settings["steps"], settings["guidance_scale"]) == (41, 3, 2.0)

    other = open_page()
    open_more(other)
    other.locator("#restore input[type=file]").set_input_files(path)
    expect(other.get_by_label("number input for Steps")).to_have_value("3")
    expect(other.get_by_label("number input for Images")).to_have_value("1")
    expect(other.get_by_label("Seed", exact=True)).to_have_value("41")
    expect(other.get_by_label("New seed every time")).not_to_be_checked()
    other.get_by_role("button", name="Generate", exact=True).click()
    expect(other.locator("#stage .status")).to_contain_text("seed 41", timeout=120_000)
    again = download_first(other)
    again.save_as(tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as image:
        assert json.loads(image.info["diffusion_demo"]) == settings


def test_a_foreign_image_is_refused_with_a_sentence(open_page, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    page = open_page()
    page.locator("#restore input[type=file]").set_input_files(tmp_path / "foreign.png")
    expect(page.get_by_test_id("toast-body")).to_contain_text("contains no settings")
    generate(page)


def test_all_images_come_as_one_zip(open_page, tmp_path):
    page = open_page()
    set_seed(page, 5)
    generate(page, images=3, steps=2)
    expect(page.locator("#zip")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#zip").click()
    download.value.save_as(tmp_path / "pictures.zip")
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        assert archive.namelist() == [f"seed_0000000{i}.png" for i in (5, 6, 7)]


def test_the_class_chosen_is_the_class_made(open_page, tmp_path):
    page = open_page()
    page.get_by_role("combobox", name="Class").click()
    page.get_by_role("option", name="robot", exact=True).click()
    generate(page, images=2, steps=2)
    download_first(page).save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert json.loads(image.info["diffusion_demo"])["class"] == "robot"


def test_the_newest_checkpoint_of_a_run_can_be_sampled(open_page, tmp_path):
    page = open_page()
    page.get_by_role("combobox", name="Model").click()
    # Gradio's dropdown keeps the old choices if they are replaced while it is open
    with page.expect_response(lambda response: "/run/" in response.url):
        page.get_by_role("option", name="run/step_000012", exact=True).click()
    page.wait_for_timeout(500)
    page.get_by_role("combobox", name="Class").click()
    page.get_by_role("option", name="three", exact=True).click()
    generate(page, images=2, steps=3)
    download_first(page).save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        settings = json.loads(image.info["diffusion_demo"])
        assert (settings["checkpoint"], settings["class"], image.mode, image.size) == (
            "run/step_000012",
            "three",
            "L",
            (16, 16),
        )
    set_steps(page, 101)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Steps must be from 1 to 100")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()


def test_a_perfect_model_is_sampled_like_any_other(open_page, tmp_path):
    page = open_page()
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="perfect: knows the sixteen images by heart").click()
    expect(page.get_by_label("number input for Guidance")).to_be_disabled()
    generate(page, images=2, steps=12)
    download_first(page).save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert json.loads(image.info["diffusion_demo"])["checkpoint"] == "oracle-memory"
        made = np.asarray(image, int)
    shown = [
        np.asarray(Image.open(path), int)
        for path in (ROOT / "checkpoints" / "avatars-32" / "showcase").glob("seed_*.png")
    ]
    assert min(np.abs(made - original).max() for original in shown) <= 2


def test_seeds_random_reused_and_kept(open_page):
    page = open_page()
    generate(page, images=1, steps=1)
    used = page.get_by_label("Seed", exact=True).input_value()
    page.get_by_role("button", name="Random seed").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value(used)
    page.get_by_role("button", name="Reuse last").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value(used)
    expect(page.get_by_label("New seed every time")).not_to_be_checked()


def test_page_and_command_line_make_the_same_images(open_page, tmp_path):
    from diffusion_demo.cli import main

    page = open_page()
    set_seed(page, 7)
    generate(page, images=2, steps=3)
    download_first(page).save_as(tmp_path / "page.png")
    arguments = ["--num-images", "2", "--steps", "3", "--seed", "7", "--guidance-scale", "2.0"]
    assert (
        main(
            [
                "sample",
                "--checkpoint",
                str(ROOT / "checkpoints" / "avatars-32"),
                *arguments,
                "--out",
                str(tmp_path / "cli"),
            ]
        )
        == 0
    )
    assert (tmp_path / "page.png").read_bytes() == (tmp_path / "cli" / "seed_00000007.png").read_bytes()


def test_quality_words_set_the_numbers_and_numbers_by_hand_are_custom(open_page):
    page = open_page()
    expect(page.get_by_role("radio", name="balanced")).to_be_checked()
    expect(page.get_by_role("radio", name="custom")).to_be_hidden()
    page.get_by_role("radio", name="best").check()
    open_more(page)
    expect(page.get_by_role("radio", name="DDPM", exact=True)).to_be_checked()
    expect(page.get_by_label("number input for Steps")).to_have_value("100")
    set_number(page, "Steps", 9)
    expect(page.get_by_role("radio", name="custom")).to_be_checked()
    page.get_by_role("radio", name="DPM-Solver++").check()
    set_number(page, "Steps", 8)
    expect(page.get_by_role("radio", name="quick")).to_be_checked()
    expect(page.get_by_role("radio", name="custom")).to_be_hidden()


def test_a_quality_word_is_in_force_for_a_click_right_after(open_page):
    page = open_page()
    set_number(page, "Images", 1)
    page.get_by_role("radio", name="quick").check()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_contain_text("Step 8 of 8", timeout=120_000)


def test_keys_start_and_stop(open_page):
    page = open_page()
    page.get_by_role("radio", name="best").check()
    page.get_by_label("Seed", exact=True).focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step [2-9] of 100"))
    page.keyboard.press("Escape")
    expect(page.locator("#stage .status")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()


def test_guidance_can_be_kept_to_some_of_the_noise_and_comes_back(open_page, tmp_path):
    page = open_page()
    open_more(page)
    page.get_by_label("Guided from").fill("20")
    page.get_by_label("Guided to").fill("80")
    page.get_by_label("Guided to").blur()
    generate(page, images=1, steps=3)
    download_first(page).save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert json.loads(image.info["diffusion_demo"])["guidance_interval"] == [200, 799]
    other = open_page()
    open_more(other)
    other.locator("#restore input[type=file]").set_input_files(tmp_path / "one.png")
    expect(other.get_by_label("Guided from")).to_have_value("20")
    expect(other.get_by_label("Guided to")).to_have_value("80")
    expect(other.get_by_role("radio", name="custom")).to_be_checked()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_nothing_is_wider_than_the_screen(open_page, name, viewport, theme):
    page = open_page(viewport, theme)
    SCREENSHOTS.mkdir(exist_ok=True)
    for tab in ("Sample", "Inspect"):
        page.get_by_role("tab", name=tab).click()
        page.locator("#stage img.xt" if tab == "Sample" else "#inspector canvas.xt").wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=SCREENSHOTS / f"{tab.lower()}-{name}-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("tab", name="Sample").click()
    for way in ("Compare", "Vary"):
        page.get_by_role("tab", name=way).click()
        page.locator("#compare" if way == "Compare" else "#vary").wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=SCREENSHOTS / f"sample-{way.lower()}-{name}-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_classifier_guides_and_an_upsampler_doubles_by_a_click_each(open_page, tmp_path):
    page = open_page()
    page.get_by_role("combobox", name="Model").click()
    with page.expect_response(lambda response: "/run/" in response.url):
        page.get_by_role("option", name="emoji-32", exact=True).click()
    page.wait_for_timeout(500)
    page.get_by_label("Class", exact=True).click()
    page.get_by_role("option", name="smileys").click()
    open_more(page)
    set_number(page, "Classifier guidance", 2)
    page.get_by_label("Twice the size").check()
    generate(page, images=4, steps=6)
    page.screenshot(path=SCREENSHOTS / "sample-twice-desktop-light.png", full_page=True)
    download_first(page).save_as(tmp_path / "one.png")
    made = Image.open(tmp_path / "one.png")
    settings = json.loads(made.info["diffusion_demo"])
    assert made.size == (64, 64) and settings["upsampler"] == "emoji-64" and settings["classifier_scale"] == 2
    page.locator("#restore input[type=file]").set_input_files(tmp_path / "one.png")
    expect(page.get_by_text("were restored").first).to_be_visible()
    expect(page.get_by_label("Twice the size")).to_be_checked()
    expect(page.get_by_label("number input for Classifier guidance")).to_have_value("2")


def test_an_openai_file_is_dropped_told_about_and_chosen(open_page, tmp_path):
    torch.save(random_unet(Settings()).state_dict(), tmp_path / "ema_0.9999.pt")
    page = open_page()
    page.get_by_role("button", name="Bring a model of OpenAI's").click()
    page.locator("#bring-file input[type=file]").set_input_files(tmp_path / "ema_0.9999.pt")
    start = page.get_by_role("button", name="Import", exact=True)
    expect(start).to_be_enabled()
    start.click()
    expect(page.get_by_text("needs more options").first).to_be_visible()
    page.get_by_label("What the file does not tell").fill(
        "--num-heads 1 --beta-schedule cosine --num-train-timesteps 100 --image-size 16"
    )
    start.click()
    expect(page.locator("#bring-report")).to_contain_text("parameters", timeout=60_000)
    expect(page.get_by_label("Model", exact=True)).to_have_value(re.compile("ema_0"))
    generate(page, images=1, steps=3)
