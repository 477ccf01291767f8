"""Links, downloads and uploaded images of the Inspect tab: browser tests."""

import re

import numpy as np
import pytest
from gradio.media import get_image
from PIL import Image
from playwright.sync_api import Page, expect

from diffusion_demo.diffusion.schedules import alphas_cumprod, named_betas
from diffusion_demo.ui.inspect import examples, explorer_data
from tests.browser.conftest import DESKTOP
from tests.browser.test_inspect_tab import choose, pixels, set_t, shown_abar, upload


@pytest.fixture
def linked(chromium, url):
    """Return a function that opens the page with a query string in a fresh browser context."""
    with chromium.new_context(viewport=DESKTOP) as context:

        def open_at(query: str) -> Page:
            page = context.new_page()
            page.goto(f"{url}/?{query}")
            page.locator("#inspector .t-value").or_(
                page.get_by_role("tab", name="Inspect", selected=False)
            ).first.wait_for(timeout=60_000)
            return page

        yield open_at


def shown_pixel(page: Page, x: int, y: int) -> str:
    return (
        "Array.from(document.querySelector('#inspector canvas.x0').getContext('2d')"
        f".getImageData({x}, {y}, 1, 1).data).slice(0, 3).join()"
    )


# Links and files


def test_a_link_opens_the_page_at_what_it_names(linked):
    page = linked("tab=inspect&example=tower&schedule=squaredcos_cap_v2&t=400&T=2000&noise=5")
    expect(page.locator("#inspector .t-value")).to_have_text("400 of 2000")
    expect(page.get_by_label("select cosine")).to_be_checked()
    expect(page.get_by_label("T, the number of steps")).to_have_value("2000")
    expect(page.locator("#inspect-image img")).to_have_attribute("src", re.compile("tower"))
    assert (
        np.abs(
            np.array(pixels(page, "x0")).reshape(128, 128, 4)[..., :3]
            - explorer_data.load_square(get_image("tower.jpg")).transpose(1, 2, 0)
        ).max()
        <= 1
    )
    assert abs(shown_abar(page) - alphas_cumprod(named_betas("squaredcos_cap_v2", 2000))[399]) < 1e-3
    wanted = ((explorer_data.make_noise(5) / 3 + 1) * 127.5).clamp(0, 255).round().numpy()
    assert np.abs(np.array(pixels(page, "eps")).reshape(128, 128, 4)[..., :3] - wanted).max() <= 1


@pytest.mark.parametrize(
    "query",
    ["example=../../etc/passwd&schedule=nonsense&t=1001&T=1e400&noise=99999999999", "t=-5&T=abc&noise=x&tab=nowhere"],
)
def test_what_a_link_cannot_mean_is_ignored(linked, url, query):
    page = linked(query)
    page.get_by_role("tab", name="Inspect").click()
    expect(page.locator("#inspector .t-value")).to_have_text("250 of 1000", timeout=60_000)
    expect(page.get_by_label("select cosine")).to_be_checked()
    default = "?tab=inspect&lesson=forward&example=seed_00000000&t=250"
    expect(page.locator("#inspector .link")).to_have_attribute("href", f"{url}/{default}")


@pytest.mark.parametrize("lesson", ["guidance", "reverse"])
def test_a_link_opens_on_its_model_and_the_address_keeps_it(linked, lesson):
    page = linked(f"tab=inspect&model=oracle-memory&lesson={lesson}&t=800")
    page.locator(f"#lesson:not(.busy) #lesson-{lesson} .perfect").wait_for(timeout=120_000)
    expect(page.get_by_role("combobox", name="Model").last).to_have_value("Exact: memorizes 16 example images")
    query = page.evaluate("location.search")
    assert "model=oracle-memory" in query and "T=" not in query
    expect(page.locator("#inspector .link")).to_have_attribute("href", re.compile("model=oracle-memory"))


def test_without_an_image_field_figures_and_link_are_those_of_the_first_example(inspector):
    inspector.get_by_role("button", name="Remove Image").last.click()
    expect(inspector.locator("#inspect-image")).to_contain_text("Until then, the first example is shown.")
    default = examples.default_images()[0]
    pixel = ",".join(map(str, explorer_data.load_square(default)[:, 4, 64]))
    inspector.wait_for_function(f"{shown_pixel(inspector, 64, 4)} === '{pixel}'")
    inspector.wait_for_function(f"new URLSearchParams(location.search).get('example') === '{default.stem}'")


def test_the_link_follows_and_is_copied(inspector, url):
    inspector.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(inspector, "jsd")
    set_t(inspector, 321)
    inspector.locator("#inspector .t").press("ArrowRight")
    wanted = f"{url}/?tab=inspect&lesson=forward&example=lion&schedule=jsd&t=322"
    expect(inspector.locator("#inspector .link")).to_have_attribute("href", wanted)
    inspector.get_by_role("button", name="Copy link").click()
    expect(inspector.locator("#inspector .copied")).to_have_text("Copied.")
    assert inspector.evaluate("navigator.clipboard.readText()") == wanted
    assert "t=322" in inspector.url and "schedule=jsd" in inspector.url


def test_the_strip_is_saved_as_an_image(inspector, tmp_path):
    with inspector.expect_download() as download:
        inspector.get_by_role("button", name="Download strip (PNG)").click()
    assert download.value.suggested_filename == "forward_linear_T1000.png"
    download.value.save_as(tmp_path / "strip.png")
    strip = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"))
    assert strip.shape == (188, 8 + 9 * 136, 3)
    assert (
        np.abs(
            strip[8:136, 8:136].astype(int) - explorer_data.load_square(get_image("lion.jpg")).transpose(1, 2, 0)
        ).max()
        <= 1
    )
    assert (strip[140:170].min(axis=(0, 2)) < 128).sum() > 60, "the values of t are written under the images"


# Uploaded images


def test_an_uploaded_image_is_shown_by_its_center_square_and_not_linked(inspector, tmp_path):
    image = Image.new("RGB", (300, 100), (0, 0, 255))
    image.paste((255, 0, 0), (100, 0, 200, 100))
    image.save(tmp_path / "own.png")
    upload(inspector, tmp_path / "own.png")
    inspector.wait_for_function(f"{shown_pixel(inspector, 64, 64)} === '255,0,0'")
    assert (np.array(pixels(inspector, "x0")).reshape(128, 128, 4)[:, 4:-4] == (255, 0, 0, 255)).all()
    expect(inspector.locator("#inspector .link")).to_contain_text("your image isn't included")
    assert "example" not in inspector.locator("#inspector .link").get_attribute("href")


def _save_rotated(path):
    """Save an image that is stored sideways and shows red above blue once its EXIF orientation is applied."""
    image = Image.new("RGB", (64, 64), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 32, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


IMAGES = {
    "one.png": (lambda path: Image.new("RGB", (1, 1), (10, 200, 30)).save(path), "10,200,30"),
    "large.png": (lambda path: Image.new("RGB", (7000, 7000), (200, 10, 30)).save(path), "200,10,30"),
    "grey.png": (lambda path: Image.new("L", (40, 90), 77).save(path), "77,77,77"),
    "clear.png": (lambda path: Image.new("RGBA", (50, 50), (9, 9, 9, 0)).save(path), "255,255,255"),
    "turned.png": (_save_rotated, "255,0,0"),
}


def test_any_image_works(inspector, tmp_path):
    for name, (make, upper) in IMAGES.items():
        make(tmp_path / name)
        upload(inspector, tmp_path / name)
        inspector.wait_for_function(f"{shown_pixel(inspector, 64, 20)} === '{upper}'")


def test_an_image_that_is_too_large_or_none_at_all_is_refused_once_and_its_field_emptied(inspector, tmp_path):
    Image.new("L", (8000, 7000)).save(tmp_path / "huge.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing" * 10)
    report_lines = {
        "huge.png": "The image has more than 50 megapixels. Make it smaller.",
        "broken.png": "The file is damaged or truncated. Copy or save it again.",
    }
    default = explorer_data.load_square(examples.default_images()[0]).transpose(1, 2, 0)
    for name, sentence in report_lines.items():
        upload(inspector, tmp_path / name)
        toast = inspector.get_by_test_id("toast-body")
        expect(toast).to_contain_text(sentence)
        expect(inspector.locator("#inspect-image img")).to_have_count(0)
        set_t(inspector, 300 if name == "huge.png" else 400)
        expect(inspector.locator("#lesson section[data-t]")).to_have_attribute("data-t", re.compile("[34]00"))
        inspector.wait_for_function(f"{shown_pixel(inspector, 64, 4)} === '{','.join(map(str, default[4, 64]))}'")
        assert toast.count() <= 1
        expect(toast).to_have_count(0)


def test_an_unreadable_second_image_is_refused_once_and_its_field_emptied(inspector, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    inspector.locator("#inspector .lessons").get_by_text("Reverse step").click()
    other = inspector.locator("#mix-with")
    other.locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(inspector.get_by_test_id("toast-body")).to_contain_text("This image cannot be read.")
    expect(other.locator("img")).to_have_count(0)
    assert inspector.get_by_test_id("toast-body").count() <= 1


def test_the_example_buttons_have_names(inspector):
    inspector.locator("#lesson:not(.busy) .panel").wait_for()
    names = [button.get_attribute("aria-label") for button in inspector.locator("#examples button.gallery-item").all()]
    assert names == [f"Example {i}" for i in (1, 2, 3)] + ["Example: lion", "Example: cheetah1", "Example: tower"]
