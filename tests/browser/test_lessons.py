"""Lessons of the Inspect tab: browser tests of every lesson, with changes of t, image and model."""

import re

import pytest
from PIL import Image, ImageSequence
from playwright.sync_api import expect

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.paths import CHECKPOINTS
from diffusion_demo.ui.inspect.examples import default_images
from diffusion_demo.ui.inspect.lessons import training, words
from diffusion_demo.ui.inspect.lessons.scene import load_scene
from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS

SOON = 120_000
BUSY = re.compile(r"\bbusy\b")


def open_inspect(open_page, viewport=DESKTOP, theme="light", query=""):
    page = open_page(viewport, theme, query)
    page.get_by_role("tab", name="Inspect").click()
    page.locator("#lesson .panel").wait_for(timeout=SOON)
    return page


def turn_to(page, lesson):
    page.locator(f"#inspector .lessons [data-lesson={lesson}]").click()
    shown = page.locator(f"#lesson:not(.busy) #lesson-{lesson}")
    shown.wait_for(timeout=SOON)
    return shown


def let_t_go_at(page, t):
    page.locator("#inspector .t").fill(str(t))
    page.locator("#inspector .t").dispatch_event("change")


def test_the_lessons_follow_one_another_each_with_its_question_figure_and_numbers(open_page):
    page = open_inspect(open_page)
    for number, (lesson, its_words) in enumerate(words.LESSONS.items()):
        shown = page.locator(f"#lesson:not(.busy) #lesson-{lesson}")
        shown.wait_for(timeout=SOON)
        heading = page.get_by_role("heading", level=2)
        assert heading.all_inner_texts() == [its_words.question]
        assert page.locator("math:visible").first.bounding_box()["height"] > 10
        assert page.locator("#inspector canvas.xt:visible, #inspector .curve canvas, #lesson img").count() > 0
        assert all(shown.locator("img").evaluate_all("images => images.map(i => i.naturalWidth > 0)"))
        charts = shown.locator("[data-chart]")
        expect(charts.locator("canvas")).to_have_count(charts.count())
        page.screenshot(path=SCREENSHOTS / f"inspect-{lesson}-desktop-light.png", full_page=True)
        if number:
            below = (
                page.locator("header.head:visible").bounding_box()["y"] - page.locator(".bar").bounding_box()["height"]
            )
            assert 0 <= below < 60, "a lesson is shown from its beginning"
        if lesson != "guidance":
            page.get_by_role("button", name="Next: ").click()
    assert int(page.locator("#lesson .panel").get_attribute("data-t")) >= 500, "guidance opens where it helps"


@pytest.mark.parametrize(("query", "t"), [("&lesson=guidance", 800), ("&lesson=guidance&t=100", 100)])
def test_a_link_without_t_opens_a_lesson_where_its_button_does(open_page, query, t):
    page = open_inspect(open_page, query=query)
    expect(page.locator("#lesson:not(.busy) #lesson-guidance")).to_be_visible(timeout=SOON)
    expect(page.locator("#inspector .t-value")).to_have_text(f"{t} of 1000")


def test_the_mark_of_t_is_on_the_curve(open_page):
    """Between the points of a curve, too: on a straight line its height is that of the line."""
    page = open_page()
    offset = page.evaluate(
        "async () => { const parent = document.body.appendChild(document.createElement('div'));"
        " parent.style.width = '500px';"
        " const series = [{ label: 'y', color: 'black', values: [0, 10] }];"
        " const axes = { x: { title: 'x' }, y: { title: 'y' } };"
        " const chart = lineChart(parent, { label: 'test', ...axes, xs: [0, 10], series });"
        " await new Promise(requestAnimationFrame);"  # it has been drawn
        " chart.mark(3); const top = parseFloat(parent.querySelector('.chart-dot').style.top);"
        " return top - chart.valToPos(3, 'y'); }"
    )
    assert abs(offset) < 0.5


@pytest.mark.parametrize("lesson", words.LESSONS)
def test_a_lesson_is_printed_on_one_page(open_page, lesson):
    page = open_inspect(open_page)
    turn_to(page, lesson)
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1


def test_the_printed_page_names_the_model_and_the_image(open_page, tmp_path):
    page = open_inspect(open_page)
    turn_to(page, "training")
    printed = page.locator("#inspector .printed")
    expect(printed).to_be_hidden()
    upload = page.locator("#inspect-image input[type=file]").set_input_files
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "my teal.png")
    for choose, linked, named in (
        (lambda: None, "example=seed_", "example 1"),
        (page.get_by_role("button", name="Example: lion").click, "example=lion", "example lion"),
        (lambda: upload(tmp_path / "my teal.png"), r"\?((?!example=).)*$", "file my"),
    ):
        choose()
        expect(page.locator("#inspector .link")).to_have_attribute("href", re.compile(linked))
        page.pdf(format="A4")
        assert f"Model: Avatars, 32x32 (bundled). Image: {named}" in printed.text_content()
    page.emulate_media(media="print")
    expect(printed).to_be_visible()


def test_a_dark_page_is_printed_on_white_and_stays_dark_on_screen(open_page):
    page = open_inspect(open_page, theme="dark")
    is_dark = "document.body.classList.contains('dark')"
    assert page.evaluate(f"() => {{ dispatchEvent(new Event('beforeprint')); return {is_dark} }}") is False
    assert page.evaluate(f"() => {{ dispatchEvent(new Event('afterprint')); return {is_dark} }}") is True


def test_the_mark_of_the_chosen_pixel_follows_the_fields(open_page):
    page = open_inspect(open_page)
    shown = turn_to(page, "reverse")
    across = page.get_by_role("slider", name="Pixel: % from the left")
    across.fill("100")
    across.dispatch_event("pointerup")
    mark = shown.locator(".pixel").first
    expect(mark).to_have_attribute("style", re.compile("left: 98.44%; top: 51.56%"), timeout=SOON)
    image, square = shown.locator("img").first.bounding_box(), mark.bounding_box()
    assert square["width"] >= 5 and square["width"] == pytest.approx(square["height"], abs=0.1)
    middle = (square["x"] + square["width"] / 2 - image["x"]) / image["width"]
    assert middle == pytest.approx(31.5 / 32, abs=0.01)


def test_what_changed_is_never_shown_as_current(open_page):
    """The old answer is hidden under another title and dimmed under the same one, from the first moment on."""
    page = open_inspect(open_page)
    turn_to(page, "reverse")
    state = page.evaluate(
        "() => { document.querySelector('#inspector .lessons [data-lesson=training]').click();"
        " return [document.querySelector('#lesson .panel').checkVisibility(),"
        " document.querySelector('.working').textContent,"
        " document.querySelector('#inspector .head:not([hidden]) h2').textContent] }"
    )
    assert state == [False, "Computing ...", words.LESSONS["training"].question]
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
    page.evaluate(
        "new MutationObserver(() => window.wasBusy ||= document.querySelector('#lesson').classList.contains('busy'))"
        ".observe(document.querySelector('#lesson'), { attributes: true })"
    )
    page.get_by_role("button", name="New noise").click()
    page.wait_for_function("window.wasBusy")
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
    turn_to(page, "training")  # what is open already needs no work, and does not wait for any


def test_another_model_or_image_marks_the_lesson_before_the_server_answers(open_page):
    page = open_inspect(open_page)
    turn_to(page, "training")

    held = []

    def hold(request):
        held.append(request)

    def choose_another_model():
        page.get_by_role("combobox", name="Model").last.click()
        page.get_by_role("option", name=re.compile("memorizes 16")).last.click()

    for choose in (choose_another_model, page.locator("#examples button.gallery-item").last.click):
        expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
        page.route("**/queue/join*", hold)
        choose()
        expect(page.locator("#lesson")).to_have_class(BUSY)
        while held:
            held.pop(0).continue_()
        page.unroute("**/queue/join*")
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)


def test_the_open_lesson_follows_t_with_the_cores_numbers(open_page):
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
    ts, network, optimal = training.error_curves(scene)
    drawn = shown.locator("[data-chart]").evaluate("parent => [...parent.chart.data].map(values => [...values])")
    assert (
        drawn[0] == ts and drawn[1] == pytest.approx(network, rel=0.05) and drawn[2] == pytest.approx(optimal, rel=0.05)
    )
    assert shown.locator("[data-chart]").evaluate("parent => parent.chart.marked") == 700


def test_over_a_slow_network_the_last_lesson_and_the_last_t_are_shown(open_page):
    page = open_inspect(open_page)
    slow = {"offline": False, "latency": 400, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    let_t_go_at(page, 300)
    page.locator("#inspector .lessons [data-lesson=training]").click()
    let_t_go_at(page, 600)
    page.locator("#inspector .lessons [data-lesson=schedules]").click()
    let_t_go_at(page, 700)
    page.locator("#lesson:not(.busy) #lesson-schedules[data-t='700']").wait_for(timeout=SOON)
    expect(page.get_by_label("T, the number of steps")).to_be_visible()


def test_a_chart_tells_its_values_to_the_keyboard(open_page):
    page = open_inspect(open_page)
    chart = turn_to(page, "training").locator("[data-chart]")
    chart.locator(".u-legend .u-value").first.wait_for(state="attached")  # the chart is drawn
    chart.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(chart.locator(".u-legend .u-value").first).to_have_text("88")
    assert float(chart.locator(".u-legend .u-value").nth(1).inner_text()) > 0
    expect(chart).to_have_attribute("aria-label", re.compile("Squared error of eps over t"))


def test_an_exact_model_can_be_asked_and_has_no_classes_to_guide(open_page):
    page = open_inspect(open_page)
    shown = turn_to(page, "guidance")
    expect(shown).to_contain_text("the class that changes x̂0 most")
    page.get_by_role("combobox", name="Model").last.click()
    page.get_by_role("option", name=re.compile("memorizes (16|sixteen)")).last.click()
    expect(shown).to_contain_text("has no classes", timeout=SOON)
    expect(page.locator("#inspector .head .try:visible")).to_have_count(0)
    page.wait_for_function("new URLSearchParams(location.search).get('model') === 'oracle-memory'")
    expect(page.locator("#lesson .perfect")).to_contain_text("Not a neural network")
    expect(turn_to(page, "reverse")).to_contain_text("this model's, fixed")
    expect(page.locator("#inspector .link")).to_have_attribute(
        "href", re.compile("lesson=reverse.*model=oracle-memory")
    )


def test_the_whole_bound_is_measured_while_one_watches(open_page):
    page = open_inspect(open_page)
    shown = turn_to(page, "likelihood")
    expect(shown).to_contain_text("here in 25 steps")
    page.get_by_role("button", name="Measure over all steps").click()
    expect(page.locator("#lesson-likelihood")).to_contain_text("of 1,000 steps", timeout=SOON)
    expect(shown.locator(".total")).to_have_text(re.compile(r"\d\.\d{4}"), timeout=3 * SOON)
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
    total = shown.locator(".total").inner_text()
    let_t_go_at(page, 700)
    expect(shown).to_contain_text("At t = 700 the reverse step", timeout=SOON)
    expect(shown.locator(".total")).to_have_text(total)


def test_finished_images_show_what_guidance_trades(open_page):
    page = open_inspect(open_page)
    turn_to(page, "guidance")
    page.get_by_role("button", name="Generate landscape at three guidance scales").click()
    page.wait_for_function(
        "document.querySelectorAll('#lesson .variety').length === 1"
        " && document.querySelector('.working').textContent === 'Computing ...'"
    )
    expect(page.locator("#lesson-guidance .variety")).to_have_count(3, timeout=SOON)
    expect(page.locator(".working")).to_have_text("")
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
    let_t_go_at(page, 300)
    page.locator('#lesson:not(.busy) .panel[data-t="300"]').wait_for(timeout=SOON)
    expect(page.locator("#lesson-guidance .variety")).to_have_count(3)


def test_all_steps_from_x_t_are_taken_and_the_figure_is_kept(open_page, tmp_path):
    page = open_inspect(open_page, query="&lesson=reverse&t=300")
    page.locator('#lesson:not(.busy) .panel[data-lesson="reverse"][data-t="300"]').wait_for(timeout=SOON)
    page.get_by_role("button", name="Take all steps from here").click()
    page.get_by_text("DDIM inversion and decoding").wait_for(timeout=SOON)
    button, added = (
        page.get_by_role("button", name="Take all steps from here"),
        page.get_by_text("All steps: regenerate"),
    )
    assert button.bounding_box()["y"] < added.bounding_box()["y"], "it stands above what it adds"
    expect(page.locator("#lesson")).not_to_have_class(BUSY, timeout=SOON)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download figure (PNG)").click()
    assert download.value.suggested_filename == "lesson_reverse_t300.png"
    download.value.save_as(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width == 1200 and figure.height > 600 and len(figure.convert("L").getcolors(256) or []) > 50


def test_a_change_ends_the_computation_that_a_button_has_started(open_page):
    """Otherwise its result would arrive after the answer for the new t and be shown as current."""
    page = open_inspect(open_page, query="&lesson=reverse&t=300")
    page.locator('#lesson:not(.busy) .panel[data-lesson="reverse"][data-t="300"]').wait_for(timeout=SOON)
    page.get_by_role("button", name="Take all steps from here").click()
    expect(page.locator("#lesson")).to_contain_text("regenerate from", timeout=SOON)
    let_t_go_at(page, 500)
    page.locator('#lesson:not(.busy) .panel[data-t="500"]').wait_for(timeout=SOON)
    page.wait_for_timeout(10_000)  # long enough for the rest of the computation to arrive
    expect(page.locator('#lesson:not(.busy) .panel[data-t="500"]')).to_be_visible()


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
def test_the_lessons_are_no_wider_than_a_phone_and_t_stays_in_view(open_page, theme):
    page = open_inspect(open_page, PHONE, theme)
    for lesson in words.LESSONS:
        turn_to(page, lesson)
        page.screenshot(path=SCREENSHOTS / f"inspect-{lesson}-phone-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), lesson
        cut = page.evaluate(
            "[...document.querySelectorAll(':is(#lesson, .inspector) :is(.scrolling, .equation)')]"
            ".filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
        )
        assert not cut, (lesson, cut)
    page.locator("#lesson .source").last.scroll_into_view_if_needed()
    assert 0 <= page.locator("#inspector .t").bounding_box()["y"] < 120
    page.emulate_media(media="print")
    expect(page.locator("#inspector .lessons")).to_be_hidden()
    expect(page.locator("#lesson-guidance img").first).to_be_visible()
