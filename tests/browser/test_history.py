"""History strip and image viewer: browser tests."""

import json
import re

from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.test_sample_tab import generate, set_seed

KEPT = "#history .strip button"


def make(page, seed, images=2, steps=1):
    set_seed(page, seed)
    generate(page, images, steps)


def words_of(page):
    return page.locator(".viewer .words")


def test_what_was_made_survives_a_reload_in_this_browser_alone(open_page):
    page = open_page()
    expect(page.locator("#history .none")).to_be_visible()
    make(page, 30)
    expect(page.locator(KEPT)).to_have_count(2)
    make(page, 40, images=1)
    expect(page.locator(KEPT)).to_have_count(3)
    page.reload()
    expect(page.locator(KEPT)).to_have_count(3)
    shown = [page.locator(f"{KEPT} img").nth(i).get_attribute("alt") for i in range(3)]
    assert re.findall(r"seed (\d+)", " ".join(filter(None, shown))) == ["40", "30", "31"]
    assert page.locator(f"{KEPT} img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    stranger = open_page()
    expect(stranger.locator("#history .none")).to_be_visible()
    expect(stranger.locator(KEPT)).to_have_count(0)


def test_nothing_kept_goes_to_the_server_until_somebody_asks(open_page):
    page = open_page()
    make(page, 30)
    expect(page.locator(KEPT)).to_have_count(2)
    page.wait_for_timeout(500)
    sent = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.locator(KEPT).first.click()
    expect(words_of(page)).to_contain_text("seed 30")
    page.keyboard.press("ArrowRight")
    expect(words_of(page)).to_contain_text("seed 31")
    page.keyboard.press("Escape")
    expect(page.locator(".viewer")).to_be_hidden()
    expect(page.locator(KEPT).nth(1)).to_be_focused()
    assert not sent


def test_a_kept_image_can_be_downloaded_with_its_settings_and_its_settings_used(open_page, tmp_path):
    page = open_page()
    make(page, 50, images=2, steps=3)
    set_seed(page, 7)
    page.locator(KEPT).nth(1).click()
    expect(words_of(page)).to_contain_text("Avatars, 32x32 (bundled): ")
    expect(words_of(page)).to_contain_text("seed 51, DPM-Solver++, 3 steps, eta 0.5.")
    with page.expect_download() as download:
        page.locator(".viewer").get_by_role("link", name="Download PNG").click()
    assert download.value.suggested_filename == "seed_00000051.png"
    download.value.save_as(tmp_path / "kept.png")
    with Image.open(tmp_path / "kept.png") as image:
        assert json.loads(image.info["diffusion_demo"])["seed"] == 51
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Variations").click()
    page.locator(KEPT).nth(1).click()
    page.get_by_role("button", name="Use these settings").click()
    expect(page.locator("#seed input")).to_have_value("51")
    expect(page.get_by_label("number input for Images")).to_have_value("1")
    expect(page.get_by_role("radio", name="Custom")).to_be_checked()


def test_the_oldest_go_when_there_are_too_many_and_all_when_cleared(open_page):
    page = open_page()
    page.evaluate(
        """async () => {
          const opened = indexedDB.open("diffusion-demo", 1);
          const database = await new Promise((done) => { opened.onsuccess = () => done(opened.result); });
          const work = database.transaction("pictures", "readwrite");
          const one = (i) => ({ name: i + ".png", blob: new Blob(), settings: { seed: i, checkpoint: "old" } });
          for (let i = 0; i < 199; i++) work.objectStore("pictures").add(one(i));
          await new Promise((done) => { work.oncomplete = done; });
        }"""
    )
    make(page, 90)
    expect(page.locator(KEPT)).to_have_count(200)
    expect(page.locator(f"{KEPT} img").last).to_have_attribute("alt", "old: seed 1.")
    page.get_by_role("button", name="Clear", exact=True).last.click()
    expect(page.locator(KEPT)).to_have_count(200)
    page.get_by_role("button", name="Delete all history?").click()
    expect(page.locator(KEPT)).to_have_count(0)
    page.reload()
    expect(page.locator("#history .none")).to_be_visible()


def test_swipes_and_arrows_turn_and_esc_closes_without_stopping_anything(open_page):
    page = open_page(PHONE)
    page.locator("#stage .cell").nth(1).click()
    expect(words_of(page)).to_contain_text("seed 1,")
    swipe = """(dialog, [from, to]) => {
      const touch = (x) => new Touch({ identifier: 1, target: dialog, clientX: x, clientY: 300 });
      const fire = (type, touches, changedTouches) =>
        dialog.dispatchEvent(new TouchEvent(type, { touches, changedTouches, bubbles: true }));
      fire("touchstart", [touch(from)], [touch(from)]);
      fire("touchend", [], [touch(to)]);
    }"""
    page.locator(".viewer").evaluate(swipe, [300, 100])
    expect(words_of(page)).to_contain_text("seed 2,")
    page.locator(".viewer").evaluate(swipe, [100, 300])
    expect(words_of(page)).to_contain_text("seed 1,")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(words_of(page)).to_contain_text("seed 0,")
    expect(page.get_by_role("button", name="Previous image")).to_be_disabled()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.keyboard.press("Escape")
    expect(page.locator(".viewer")).to_be_hidden()


def test_a_long_history_scrolls_by_itself_and_makes_no_phones_page_wider(open_page):
    page = open_page(PHONE)
    make(page, 30, images=8)
    expect(page.locator(KEPT)).to_have_count(8)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.locator("#history .strip").evaluate(
        "strip => strip.scrollWidth > strip.clientWidth + 64 && strip.clientWidth > 300"
    )
