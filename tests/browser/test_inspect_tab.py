"""The Inspect tab: numbers and pixels against the package's own mathematics."""

import pytest
from gradio.media import get_image
from PIL import Image
from playwright.sync_api import Page, expect

from diffusion_demo.diffusion.schedules import alphas_cumprod, named_betas


@pytest.fixture
def inspector(open_page) -> Page:
    page = open_page()
    page.get_by_role("tab", name="Inspect").click()
    expect(page.locator("#inspector .t-value")).to_have_text("250 of 1000")
    return page


def pixels(page: Page, canvas: str) -> list[int]:
    return page.evaluate(
        "name => { const c = document.querySelector('#inspector canvas.' + name); "
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }",
        canvas,
    )


def factors(page: Page) -> tuple[float, float]:
    return tuple(float(number) for number in page.locator("#inspector .filled b").all_inner_texts())


@pytest.mark.parametrize(("schedule", "index"), [("linear", 0), ("squaredcos_cap_v2", 1)])
@pytest.mark.parametrize("t", [1, 500, 1000])
def test_the_equation_shows_the_packages_numbers(inspector, schedule, index, t):
    inspector.locator(f"#inspector .choices input[value='{index}']").check()
    inspector.locator("#inspector .t").fill(str(t))
    abar = alphas_cumprod(named_betas(schedule, 1000))[t - 1]
    signal, noise = factors(inspector)
    assert abs(signal - abar.sqrt()) < 1e-4 and abs(noise - (1 - abar).sqrt()) < 1e-4


def test_t_zero_is_the_clean_picture_and_t_max_is_not(inspector):
    inspector.locator("#inspector .t").fill("0")
    assert pixels(inspector, "xt") == pixels(inspector, "x0")
    assert factors(inspector) == (1.0, 0.0)
    inspector.locator("#inspector .t").fill("1000")
    assert pixels(inspector, "xt") != pixels(inspector, "x0")


def test_dragging_t_sends_no_request(inspector):
    requests = []
    inspector.on("request", lambda request: requests.append(request.url))
    inspector.locator("#inspector .t").focus()
    before = pixels(inspector, "xt")
    for _ in range(20):
        inspector.keyboard.press("ArrowRight")
    expect(inspector.locator("#inspector .t-value")).to_have_text("270 of 1000")
    assert pixels(inspector, "xt") != before
    assert not [url for url in requests if "heartbeat" not in url]


def test_a_picture_of_ones_own_is_shown(inspector, tmp_path):
    Image.new("RGB", (300, 200), (255, 0, 0)).save(tmp_path / "red.jpg")
    before = pixels(inspector, "x0")
    inspector.locator("#picture input[type=file]").set_input_files(tmp_path / "red.jpg")
    inspector.wait_for_function("document.querySelector('#inspector canvas.x0').getContext('2d').getImageData(64, 64, 1, 1).data[1] < 5")
    after = pixels(inspector, "x0")
    assert after != before and after[0] > 250


def test_new_noise_changes_the_noise_alone(inspector):
    inspector.locator("#picture input[type=file]").set_input_files(get_image("tower.jpg"))
    inspector.wait_for_timeout(1500)
    picture, noise = pixels(inspector, "x0"), pixels(inspector, "eps")
    inspector.get_by_role("button", name="New noise").click()
    inspector.wait_for_timeout(1500)
    assert pixels(inspector, "x0") == picture
    assert pixels(inspector, "eps") != noise


def test_a_file_that_is_no_picture_is_refused(inspector, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing" * 10)
    inspector.locator("#picture input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(inspector.get_by_test_id("toast-body")).to_contain_text("cannot be read")
