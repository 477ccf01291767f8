"""Sample, Generate: browser tests."""

import json
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from diffusion_demo.paths import ASSETS
from diffusion_demo.ui.preview.preview import dispatch_event
from tests.browser.conftest import DESKTOP, PHONE, ROOT, SCREENSHOTS, open_part
from tests.models.openai.reference_unet import Settings, random_unet

# Collects in `seen` each frame that the stage shows.
RECORD_FRAMES = """window.seen = [];
new MutationObserver(() => {
  const scrub = document.querySelector("#stage .scrub"), frame = scrub && scrub.getAttribute("aria-valuetext");
  if (frame && frame !== seen.at(-1)) seen.push(frame);
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-valuetext"] });"""


def set_number(page: Page, label: str, value: int | float) -> None:
    field = page.get_by_label(f"number input for {label}")
    field.fill(str(value))
    field.blur()


def set_seed(page: Page, seed: int) -> None:
    page.locator("#seed input").fill(str(seed))
    page.locator("#seed input").blur()
    expect(page.get_by_label("Randomize seed").first).not_to_be_checked()


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


def choose_model(page: Page, title: str) -> None:
    page.get_by_role("combobox", name="Model").first.click()
    # Gradio's dropdown keeps the old choices if they are replaced while it is open
    with page.expect_response(lambda response: "/run/" in response.url):
        page.get_by_role("option", name=title, exact=True).click()
    page.wait_for_timeout(500)


def choose_class(page: Page, name: str) -> None:
    page.locator("#class-cards").get_by_role("radio", name=name, exact=True).check()


def restore(page: Page, path) -> None:
    if not page.locator("#restore").is_visible():
        open_part(page, "Load settings from an image")
    page.locator("#restore input[type=file]").set_input_files(path)


def download_first(page: Page):
    page.locator("#stage .cell").first.click()
    with page.expect_download() as download:
        page.locator(".viewer").get_by_role("link", name="Download PNG").click()
    page.keyboard.press("Escape")
    return download.value


def test_finished_images_stand_there_before_any_click(open_page):
    page = open_page()
    expect(page.locator("#stage .cell")).to_have_count(16)
    expect(page.locator("#stage .status")).to_contain_text("Example result")
    expect(page.locator("#stage .caption")).to_have_text(
        "Avatars, 32x32 (bundled) · All classes · Seeds 0 to 15 · DPM-Solver++, 12 steps"
    )
    assert page.locator("#stage img.xt").evaluate("image => image.complete && image.naturalWidth === 128")
    names = page.locator("#stage .cell").evaluate_all("cells => cells.map((cell) => cell.getAttribute('aria-label'))")
    assert len(set(names)) == 16 and re.fullmatch(r"Enlarge image 1: [A-Z][a-z ]+, seed 0", names[0])


def test_the_example_is_replayed_from_noise_unless_motion_is_reduced_and_shown_once(open_page):
    page = open_page(script=RECORD_FRAMES)
    page.wait_for_function("seen.length > 2 && seen.at(-1) === 'step 12 of 12'")
    frames = page.evaluate("seen")
    assert len(frames[frames.index("pure noise") :]) > 5, frames
    visible = "images => images.filter((image) => image.checkVisibility()).map((image) => image.className)"
    assert page.locator("#sample-results img").evaluate_all(visible) == ["xt"]
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    expect(page.locator("#stage .cell")).to_have_count(16)
    assert page.evaluate("seen") == ["step 12 of 12"]


def test_sixteen_images_appear_step_by_step(open_page):
    page = open_page()
    set_steps(page, 12)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step \d+ of 12, .* left, .* images/s"))
    first = page.locator("#stage img.xt").get_attribute("src")
    expect(page.locator("#stage img.xt")).not_to_have_attribute("src", first)
    expect(page.locator("#stage .status")).to_contain_text("16 images in", timeout=120_000)
    expect(page.locator("#stage .cell")).to_have_count(16)
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
    expect(page.locator("#stage .status")).to_contain_text("Pure noise, t = 1000. Stopped.")
    generate(page)
    expect(page.locator("#stage .cell")).to_have_count(4)


def test_the_slider_scrubs_through_the_steps_without_a_request(open_page):
    page = open_page()
    generate(page, steps=5)
    expect(page.locator("#stage .status")).to_contain_text("Drag to replay the 5 steps.")
    page.wait_for_timeout(500)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    last = page.locator("#stage img.x0").get_attribute("src")
    page.locator("#stage .scrub").fill("0")
    expect(page.locator("#stage .status")).to_contain_text("Pure noise, t = 1000")
    page.locator("#stage .scrub").fill("5")
    expect(page.locator("#stage .status")).to_contain_text("Step 5 of 5, t = 0")
    page.locator("#stage .scrub").fill("1")
    expect(page.locator("#stage .status")).to_contain_text("Step 1 of 5, t = 968")
    assert page.locator("#stage img.x0").get_attribute("src") != last
    page.locator("#stage .scrub").press("ArrowRight")
    expect(page.locator("#stage .status")).to_contain_text("Step 2 of 5")
    # the history may still be rendering; its images are blob URLs
    assert not [url for url in requests if not url.startswith(("data:", "blob:")) and "heartbeat" not in url]


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
    assert (settings["seed"], settings["steps"], settings["guidance_scale"]) == (41, 3, 1.0)

    other = open_page()
    open_more(other)
    restore(other, path)
    expect(other.get_by_label("number input for Steps")).to_have_value("3")
    expect(other.get_by_label("number input for Images")).to_have_value("1")
    expect(other.locator("#seed input")).to_have_value("41")
    expect(other.get_by_label("Randomize seed")).not_to_be_checked()
    other.get_by_role("button", name="Generate", exact=True).click()
    expect(other.locator("#stage .status")).to_contain_text("seed 41", timeout=120_000)
    again = download_first(other)
    again.save_as(tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as image:
        assert json.loads(image.info["diffusion_demo"]) == settings


def test_a_foreign_image_is_refused_with_a_sentence(open_page, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    page = open_page()
    restore(page, tmp_path / "foreign.png")
    expect(page.get_by_test_id("toast-body")).to_contain_text("No settings found in this image")
    expect(page.locator("#restore input[type=file]")).to_have_count(1)  # the field takes the next file
    generate(page)


def test_start_works_again_as_soon_as_the_images_are_there(open_page):
    page = open_page()
    status = page.locator("#stage .status").first
    for _ in range(4):
        before = status.text_content()
        page.get_by_role("button", name="Generate", exact=True).click()
        page.wait_for_function(
            """before => {
              const now = document.querySelector("#stage .status").textContent;
              return now !== before && /images in/.test(now);
            }""",
            arg=before,
        )
    expect(page.locator("#zip-animation")).to_be_enabled()


def test_a_run_that_follows_a_stop_at_once_can_be_stopped(open_page):
    page = open_page()
    start, stop = (page.get_by_role("button", name=name, exact=True) for name in ("Generate", "Stop"))
    status = page.locator("#stage .status").first
    set_number(page, "Images", 64)
    set_steps(page, 500)
    for _ in range(2):
        start.click()
        expect(status).to_contain_text(re.compile(r"Step [1-9]\d* of 500"))
        stop.click()
        expect(status).to_contain_text("Stopped.")
    generate(page, images=1)  # at once, because no earlier run is left


def test_all_images_come_as_one_zip(open_page, tmp_path):
    page = open_page()
    set_seed(page, 5)
    generate(page, images=3, steps=2)
    expect(page.locator("#zip")).to_be_enabled()
    with page.expect_download() as download:
        page.locator("#zip").click()
    download.value.save_as(tmp_path / "images.zip")
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert archive.namelist() == [f"seed_0000000{i}.png" for i in (5, 6, 7)]


def test_the_class_chosen_is_the_class_made(open_page, tmp_path):
    page = open_page()
    choose_class(page, "robot")
    generate(page, images=2, steps=2)
    download_first(page).save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert json.loads(image.info["diffusion_demo"])["class"] == "robot"


def test_the_newest_checkpoint_of_a_run_can_be_sampled(open_page, tmp_path):
    page = open_page()
    choose_model(page, "run, step 12")
    expect(page.locator("#stage .invitation")).to_contain_text("run, step 12 is ready.")
    expect(page.locator("#stage .cell")).to_have_count(0)
    choose_class(page, "three")
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
    choose_class(page, "robot")
    choose_model(page, "Exact: memorizes 16 example images")
    expect(page.locator("#stage .known")).to_be_visible()
    expect(page.locator("#class-cards")).to_be_hidden()
    expect(page.get_by_label("number input for Guidance")).to_be_disabled()
    page.locator("#seed input").fill("1.5")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Seed must be a whole number from 0 to")
    expect(page.locator("#stage .known")).to_be_visible()
    page.locator("#seed input").fill("1")
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
    choose_model(page, "Avatars, 32x32 (bundled)")
    expect(page.locator("#class-cards").get_by_role("radio", name="robot", exact=True)).to_be_checked()


def test_on_a_phone_new_images_are_seen_from_their_upper_edge(open_page):
    page = open_page(PHONE)
    page.evaluate("scrollTo(0, 600)")
    generate(page, images=2, steps=3)
    page.wait_for_timeout(1000)
    box = page.locator("#stage .sheet").bounding_box()
    assert box and box["y"] > -1 and box["y"] + box["height"] <= PHONE["height"], box


def test_seeds_random_reused_and_kept(open_page):
    page = open_page()
    generate(page, images=1, steps=1)
    used, seed = page.locator("#seed input").input_value(), page.locator("#seed input")
    generate(page, images=1, steps=1)
    expect(seed).not_to_have_value(used)
    last = seed.input_value()
    seed.fill("3")
    expect(page.get_by_label("Randomize seed")).not_to_be_checked()
    page.get_by_role("button", name="Reuse last seed").click()
    expect(seed).to_have_value(last)


def test_an_invalid_seed_is_one_sentence_where_it_was_typed(open_page):
    page = open_page()
    for wrong in ("-5", "99999999999"):
        page.locator("#seed input").fill(wrong)
        expect(page.locator(".seed .problem")).to_have_text("Enter a whole number from 0 to 2,147,483,647.")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Seed must be a whole number from 0 to 2,147,483,647.")
    expect(page.locator("#stage .status")).to_have_text("Nothing was generated.")
    page.locator("#seed input").fill("5")
    expect(page.locator(".seed .problem")).to_have_count(0)
    generate(page, images=1, steps=1)


def test_page_and_command_line_make_the_same_images(open_page, tmp_path):
    from diffusion_demo.cli import main

    page = open_page()
    set_seed(page, 7)
    generate(page, images=2, steps=3)
    download_first(page).save_as(tmp_path / "page.png")
    arguments = ["--num-images", "2", "--steps", "3", "--seed", "7"]
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
    expect(page.get_by_role("radio", name="Balanced")).to_be_checked()
    expect(page.get_by_role("radio", name="Custom")).to_be_hidden()
    page.get_by_role("radio", name="Best").check()
    open_more(page)
    expect(page.get_by_role("radio", name="DDPM", exact=True)).to_be_checked()
    expect(page.get_by_label("number input for Steps")).to_have_value("100")
    set_number(page, "Steps", 9)
    expect(page.get_by_role("radio", name="Custom")).to_be_checked()
    for sampler, steps in (("DDIM", "25"), ("DDPM", "100"), ("DPM-Solver++", "12")):
        page.get_by_role("radio", name=sampler, exact=True).check()
        expect(page.get_by_label("number input for Steps")).to_have_value(steps)
    expect(page.get_by_role("radio", name="Balanced")).to_be_checked()
    set_number(page, "Steps", 8)
    expect(page.get_by_role("radio", name="Quick")).to_be_checked()
    expect(page.get_by_role("radio", name="Custom")).to_be_hidden()


def test_a_quality_word_is_in_force_for_a_click_right_after(open_page):
    page = open_page()
    set_number(page, "Images", 1)
    page.get_by_role("radio", name="Quick").check()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_contain_text("Step 8 of 8", timeout=120_000)


def test_keys_start_and_stop(open_page):
    page = open_page()
    page.get_by_role("radio", name="Best").check()
    page.locator("#seed input").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step [2-9] of 100"))
    page.keyboard.press("Escape")
    expect(page.locator("#stage .status")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()


def test_guidance_can_be_kept_to_some_of_the_noise_and_comes_back(open_page, tmp_path):
    page = open_page()
    open_more(page)
    set_number(page, "Guidance", 2)
    page.get_by_label("Apply guidance from").fill("20")
    page.get_by_label("Apply guidance to").fill("80")
    page.get_by_label("Apply guidance to").blur()
    generate(page, images=1, steps=3)
    download_first(page).save_as(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert json.loads(image.info["diffusion_demo"])["guidance_interval"] == [200, 799]
    page.locator("#history .strip button").first.click()
    expect(page.locator(".viewer .words")).to_contain_text("guidance 2 at 20 to 80 % noise")
    page.keyboard.press("Escape")
    other = open_page()
    open_more(other)
    restore(other, tmp_path / "one.png")
    expect(other.get_by_label("Apply guidance from")).to_have_value("20")
    expect(other.get_by_label("Apply guidance to")).to_have_value("80")
    expect(other.get_by_role("radio", name="Custom")).to_be_checked()


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 720}, PHONE])
def test_the_first_screen_has_the_stage_and_the_button_of_each_form(open_page, viewport):
    page = open_page(viewport)
    for part in ("#generate", "#stage .sheet", "#stage .scrub"):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= viewport["height"], part
    cards = page.locator("#class-cards label")
    expect(cards).to_have_count(11)
    images = cards.evaluate_all("all => all.map((card) => getComputedStyle(card, '::before').backgroundImage)")
    assert len(set(images)) == 11 and all(image.startswith("url(") for image in images)
    for way, button in (("Variations", "#vary"), ("Compare", "#compare"), ("Generate", "#generate")):
        page.get_by_role("tab", name=way).click()
        expect(page.locator(button)).to_be_in_viewport(ratio=1)
    open_more(page)
    expect(page.locator("#generate")).to_be_in_viewport(ratio=1)
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-start")).to_be_in_viewport(ratio=1)
    icon = page.request.get(page.locator("link[rel=icon]").evaluate("link => link.href"))
    assert icon.body() == (ASSETS / "favicon.svg").read_bytes() and icon.headers["content-type"] == "image/svg+xml"


def test_sheet_animation_and_enlarged_image_can_be_downloaded(open_page, tmp_path):
    page = open_page()
    set_seed(page, 21)
    generate(page, images=4, steps=3)
    paths = {}
    for button in ("#zip-sheet", "#zip-animation", "#zip-larger"):
        expect(page.locator(button)).to_be_enabled()
        with page.expect_download() as download:
            page.locator(button).click()
        paths[button] = tmp_path / download.value.suggested_filename
        download.value.save_as(paths[button])
    page.locator("#stage .cell").nth(1).click()
    with page.expect_download() as download:
        page.locator(".viewer").get_by_role("link", name="Download 8x larger").click()
    download.value.save_as(tmp_path / "8x.png")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer .words")).to_contain_text("seed 23")
    page.keyboard.press("Escape")
    expect(page.locator("#stage .cell").nth(2)).to_be_focused()
    with Image.open(paths["#zip-sheet"]) as sheet, Image.open(tmp_path / "8x.png") as large:
        assert sheet.size == (512, 512) and large.size == (256, 256)
        assert json.loads(large.info["diffusion_demo"])["seed"] == 22
        enlarged = np.asarray(sheet.convert("RGB"))[:256, 256:]
        np.testing.assert_array_equal(enlarged, np.asarray(large.convert("RGB")))
    with zipfile.ZipFile(paths["#zip-larger"]) as archive:
        assert archive.namelist() == [f"seed_{seed:08d}.png" for seed in range(21, 25)]
        with archive.open("seed_00000022.png") as file, Image.open(file) as image:
            assert image.info == large.info  # the settings of the small image
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), enlarged)
    with Image.open(paths["#zip-animation"]) as animation:
        assert (animation.format, getattr(animation, "n_frames", 1)) == ("WEBP", 3)


def test_a_reload_keeps_the_tab_and_the_results_of_a_run(open_page):
    page = open_page()
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled(timeout=120_000)
    set_seed(page, 77)
    choose_class(page, "robot")
    set_steps(page, 100)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step ([2-9]|[1-9]\d) of 100"))
    # A reload aborts the run's requests, and sometimes the old page still handles the error.
    failed = dispatch_event("stage", "run-failed")
    page.evaluate(f"() => {{ dispatchEvent(new Event('beforeunload')); ({failed})(); }}")
    page.reload()
    expect(page.locator("#stage .status")).to_contain_text("16 images in", timeout=120_000)
    expect(page.locator("#stage .caption")).to_contain_text("Robot · Seeds 77 to 92 · DPM-Solver++, 100 steps")
    expect(page.locator("#history .strip button")).to_have_count(16)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_url("**tab=train**")
    page.reload()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Sample").click()
    expect(page.locator("#history .strip button")).to_have_count(16)
    expect(page.locator("#stage .status")).to_contain_text("Example result")


# Answers the first request to resume a run with the id of an event that the server does not know.
LOST_ANSWER = """
  const send = window.fetch;
  let isLost = false;
  window.fetch = (request, options) => {
    const event = /queue.join/.test(request.url || request) ? JSON.parse(options.body).event_data : null;
    if (isLost || !event || !event.num_images) return send(request, options);
    isLost = window.isAnswerLost = true;
    return Promise.resolve(Response.json({ event_id: "lost" }));
  };
"""


def test_a_run_that_a_reload_cuts_short_starts_again_even_if_an_answer_is_lost(open_page):
    page = open_page(script=LOST_ANSWER)
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled(timeout=120_000)
    set_seed(page, 78)
    set_steps(page, 100)  # enough for the reload to come before the end
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_have_text(re.compile(r"Step ([2-9]|[1-9]\d) of 100"))
    page.reload()
    page.wait_for_function("window.isAnswerLost")
    expect(page.locator("#stage .status")).to_contain_text("16 images in", timeout=120_000)
    expect(page.locator("#stage .caption")).to_contain_text("Seeds 78 to 93")
    assert page.evaluate("sessionStorage.getItem('diffusion-demo-run')") is None


def test_a_reload_keeps_the_model_and_its_classes(open_page):
    page = open_page()
    choose_model(page, "run, step 12")
    page.wait_for_url("**model=run%2Fstep_000012**")
    page.reload()
    expect(page.get_by_role("combobox", name="Model").first).to_have_value("run, step 12")
    expect(page.locator("#stage .invitation")).to_contain_text("run, step 12 is ready.")
    choose_class(page, "three")
    generate(page, images=1, steps=1)
    expect(page.locator("#stage .caption")).to_contain_text("run, step 12")
    choose_model(page, "Avatars, 32x32 (bundled)")
    page.wait_for_url(lambda url: "model=" not in url)


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
    for way in ("Compare", "Variations"):
        page.get_by_role("tab", name=way).click()
        page.locator("#compare" if way == "Compare" else "#vary").wait_for()
        page.wait_for_timeout(500)
        page.screenshot(path=SCREENSHOTS / f"sample-{way.lower()}-{name}-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_classifier_guides_and_an_upsampler_doubles_by_a_click_each(open_page, tmp_path):
    page = open_page()
    choose_class(page, "smiley")
    open_more(page)
    set_number(page, "Classifier guidance", 2)
    page.get_by_label("Upscale 2x").check()
    generate(page, images=4, steps=6)
    page.screenshot(path=SCREENSHOTS / "sample-twice-desktop-light.png", full_page=True)
    download_first(page).save_as(tmp_path / "one.png")
    made = Image.open(tmp_path / "one.png")
    settings = json.loads(made.info["diffusion_demo"])
    assert made.size == (64, 64) and settings["upsampler"] == "avatars-64" and settings["classifier_scale"] == 2
    restore(page, tmp_path / "one.png")
    expect(page.get_by_text("Settings restored").first).to_be_visible()
    expect(page.get_by_label("Upscale 2x")).to_be_checked()
    expect(page.get_by_label("number input for Classifier guidance")).to_have_value("2")


def test_an_openai_file_is_dropped_told_about_and_chosen(open_page, tmp_path):
    torch.save(random_unet(Settings()).state_dict(), tmp_path / "ema_0.9999.pt")
    page = open_page()
    page.get_by_role("button", name="Import an OpenAI checkpoint").click()
    page.locator("#import-file input[type=file]").set_input_files(tmp_path / "ema_0.9999.pt")
    start = page.get_by_role("button", name="Import", exact=True)
    expect(start).to_be_enabled()
    start.click()
    expect(page.get_by_text("needs more options").first).to_be_visible()
    page.get_by_label("Extra options").fill(
        "--num-heads 1 --beta-schedule cosine --num-train-timesteps 100 --image-size 16"
    )
    start.click()
    expect(page.locator("#import-report")).to_contain_text("parameters", timeout=60_000)
    expect(page.get_by_label("Model", exact=True)).to_have_value(re.compile("ema_0.*imported"))
    generate(page, images=1, steps=3)
