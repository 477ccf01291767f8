"""Explorer of the Inspect tab: browser tests of its numbers, pixels and curves against the Python package."""

import math
import re
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
import torch
from gradio.media import get_image
from playwright.sync_api import Page, expect

from diffusion_demo.diffusion.flow import flow_time, path_scale
from diffusion_demo.diffusion.likelihood import prior_bits
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import SCHEDULES, alphas_cumprod, named_betas, signal_to_noise, terminal_warning
from diffusion_demo.errors import BadInput
from diffusion_demo.images import to_float
from diffusion_demo.ui.inspect import explorer_data
from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")


def pixels(page: Page, canvas: str) -> list[int]:
    return page.evaluate(
        "name => { const c = document.querySelector('#inspector canvas.' + name); "
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }",
        canvas,
    )


def shown_abar(page: Page) -> float:
    """The abar_t of the lesson on schedules, to three digits."""
    return float(page.locator("#inspector .schedule-filled .abar").inner_text())


def factors(page: Page) -> tuple[float, float]:
    signal, noise = map(float, page.locator("#inspector .making .filled b").all_inner_texts())
    return signal, noise


def number(page: Page, where: str) -> float:
    text = page.locator(f"#inspector {where}").inner_text().translate(SUPERSCRIPTS)
    return float(text.replace(" × 10", "e").replace("∞", "inf"))


def choose(page: Page, schedule: str) -> None:
    # In the lesson on the forward process, which keeps the schedule of the one on schedules, the list is not visible.
    page.locator(f"#inspector input[name=inspect-schedule][value={schedule}]").evaluate("radio => radio.click()")


def set_t(page: Page, t: int) -> None:
    page.locator("#inspector .t").fill(str(t))


def open_lesson(page: Page, lesson: str) -> None:
    page.locator(f"#inspector .lessons [data-lesson={lesson}]").click()
    page.locator(f"#inspector .head[data-lesson={lesson}]").wait_for()


def curve(page: Page, chart: str) -> dict[str, list[float]]:
    """Return the values of a chart by the label of their line; those of the x axis are "x"."""
    return page.locator(f"#inspector .{chart}").evaluate(
        "parent => Object.fromEntries(parent.chart.data.map((values, i) => "
        "[i ? parent.chart.series[i].label : 'x', [...values]]))"
    )


def set_steps(page: Page, steps: str) -> None:
    page.get_by_label("T, the number of steps").fill(steps)
    page.get_by_label("T, the number of steps").press("Enter")


def upload(page: Page, path) -> None:
    page.locator("#inspect-image input[type=file]").set_input_files(path)


def lion() -> torch.Tensor:
    return to_float(torch.from_numpy(explorer_data.load_square(get_image("lion.jpg")))[None])


# Data sent by the server


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [21, 1000])
def test_the_table_of_the_divergence_ends_with_the_bounds_own_term(name, steps):
    diffusion, x0 = Diffusion(named_betas(name, steps), prediction_type="sample"), lion().double()
    table = explorer_data.kl_bits(diffusion, x0)
    assert table.shape == (steps,) and table.dtype == torch.float64
    assert math.isclose(table[-1], prior_bits(diffusion, x0), rel_tol=1e-12, abs_tol=1e-15)
    assert math.isclose(table[steps // 2], prior_bits(diffusion.up_to(steps // 2), x0), rel_tol=1e-9)


def test_every_schedule_that_can_have_so_many_steps_is_handed_over_and_the_others_are_named():
    value = explorer_data.make_explorer_value(explorer_data.load_square(get_image("lion.jpg")), 0, 10, "lion")
    assert [schedule["name"] for schedule in value["schedules"]] == [name for name in SCHEDULES if name != "linear"]
    assert [schedule["label"] for schedule in value["missing"]] == ["linear"] and "more than 20" in value["missing"][0][
        "why"
    ]
    assert all(
        schedule["warning"] == terminal_warning(alphas_cumprod(named_betas(schedule["name"], 10)))
        for schedule in value["schedules"]
    )


@pytest.mark.parametrize("wanted", [None, 1, 4001, 2.5, float("nan"), float("inf"), -3])
def test_a_number_of_steps_that_cannot_be_is_refused(wanted):
    with pytest.raises(BadInput, match="whole number from 2 to 4000"):
        explorer_data.parse_num_timesteps(wanted)


# Image, noise and t


def test_the_equation_shows_the_packages_numbers(inspector):
    for schedule in SCHEDULES:
        choose(inspector, schedule)
        abar = alphas_cumprod(named_betas(schedule, 1000))
        for t in (1, 500, 1000):
            set_t(inspector, t)
            signal, noise = factors(inspector)
            assert abs(signal - abar[t - 1].sqrt()) < 1e-4 and abs(noise - (1 - abar[t - 1]).sqrt()) < 1e-4, (
                schedule,
                t,
            )


def test_the_noisy_image_is_the_packages(inspector):
    set_t(inspector, 300)
    diffusion, eps = Diffusion(named_betas("linear", 1000)), explorer_data.make_noise(0).permute(2, 0, 1)[None]
    wanted = ((diffusion.q_sample(lion(), 299, eps)[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().numpy()
    found = np.array(pixels(inspector, "xt")).reshape(128, 128, 4)[..., :3]
    assert np.abs(found - wanted).max() <= 1


def test_t_zero_is_the_clean_image_and_t_max_is_not(inspector):
    set_t(inspector, 0)
    assert pixels(inspector, "xt") == pixels(inspector, "x0")
    assert factors(inspector) == (1.0, 0.0)
    assert number(inspector, ".kl-number") == math.inf
    set_t(inspector, 1000)
    assert pixels(inspector, "xt") != pixels(inspector, "x0")


def test_dragging_t_sends_no_request(inspector):
    inspector.locator("#lesson:not(.busy) .panel").wait_for()
    requests, seen = [], -1
    inspector.on("request", lambda request: requests.append(request.url))
    while seen < len(requests):  # until the page has loaded everything
        seen = len(requests)
        inspector.wait_for_timeout(2000)
    requests.clear()
    before, box = pixels(inspector, "xt"), inspector.locator("#inspector .t").bounding_box()
    middle = box["y"] + box["height"] / 2
    inspector.mouse.move(box["x"] + box["width"] / 4, middle)
    inspector.mouse.down()
    inspector.mouse.move(box["x"] + box["width"] / 2, middle, steps=20)
    expect(inspector.locator("#inspector .t-value")).to_have_text("500 of 1000")
    assert pixels(inspector, "xt") != before
    assert [url for url in requests if "heartbeat" not in url] == []


def test_a_move_of_t_changes_text_and_replaces_no_element(inspector):
    """Replacing elements would cause a style and layout pass that takes longer than a frame."""
    for lesson in ("forward", "schedules"):
        open_lesson(inspector, lesson)
        inspector.locator("#lesson:not(.busy) .panel").wait_for()
        replaced = inspector.evaluate(
            "async () => { const seen = []; const watch = new MutationObserver((records) => seen.push(...records));"
            " for (const node of document.querySelectorAll('#inspector :is(.bar, .part)'))"
            " watch.observe(node, { childList: true, subtree: true });"
            " const slider = document.querySelector('#inspector .t');"
            " for (const t of [0, 300, 301, 1000]) {"
            " slider.value = t; slider.dispatchEvent(new Event('input', { bubbles: true }));"
            " await new Promise(requestAnimationFrame); }"
            " return [...watch.takeRecords(), ...seen].map((record) => record.target.className); }"
        )
        assert replaced == [], lesson


def test_arrow_keys_move_by_one_and_with_shift_by_ten(inspector):
    slider, shown = inspector.locator("#inspector .t"), inspector.locator("#inspector .t-value")
    for key, t in [
        ("ArrowLeft", 249),
        ("Shift+ArrowRight", 259),
        ("Shift+ArrowUp", 269),
        ("Shift+ArrowLeft", 259),
        ("Home", 0),
        ("Shift+ArrowDown", 0),
    ]:
        slider.press(key)
        expect(shown).to_have_text(f"{t} of 1000")
    slider.press("End")
    slider.press("Shift+ArrowRight")
    expect(shown).to_have_text("1000 of 1000")


def test_t_stays_in_view_below(inspector):
    inspector.locator("#inspector .keep").scroll_into_view_if_needed()
    box = inspector.locator("#inspector .t").bounding_box()
    assert 0 <= box["y"] < 100


def test_the_slip_of_variance_and_standard_deviation_is_pointed_out_with_the_packages_numbers(inspector):
    set_t(inspector, 300)
    abar = alphas_cumprod(named_betas("linear", 1000))[299]
    assert number(inspector, ".slip .variance") == pytest.approx(float(1 - abar), abs=1e-4)
    assert number(inspector, ".slip .deviation") == pytest.approx(float((1 - abar).sqrt()), abs=1e-4)


def test_the_strip_runs_from_the_image_to_noise_and_a_click_jumps(inspector):
    frames = inspector.locator("#inspector .strip.main .frame")
    assert frames.all_inner_texts() == [str(round(i * 125)) for i in range(9)]
    frames.nth(6).click()
    expect(inspector.locator("#inspector .t-value")).to_have_text("750 of 1000")
    sixth = (
        "(c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data))"
        "(document.querySelectorAll('.strip.main canvas')[6])"
    )
    assert pixels(inspector, "xt") == inspector.evaluate(sixth)


def test_new_noise_changes_the_noise_alone(inspector):
    upload(inspector, get_image("tower.jpg"))
    expect(inspector.locator("#inspector .link")).to_have_attribute("href", re.compile("example=tower"))
    image, noise = pixels(inspector, "x0"), pixels(inspector, "eps")
    inspector.get_by_role("button", name="New noise").click()
    expect(inspector.locator("#inspector .link")).to_have_attribute("href", re.compile("noise="))
    seed = int(parse_qs(urlparse(inspector.locator("#inspector .link").get_attribute("href")).query)["noise"][0])
    assert pixels(inspector, "x0") == image
    assert pixels(inspector, "eps") != noise
    wanted = ((explorer_data.make_noise(seed) / 3 + 1) * 127.5).clamp(0, 255).round().numpy()
    assert np.abs(np.array(pixels(inspector, "eps")).reshape(128, 128, 4)[..., :3] - wanted).max() <= 1


# Schedules


def test_the_list_shows_each_schedules_end_and_its_value_at_t(inspector):
    open_lesson(inspector, "schedules")
    set_t(inspector, 700)
    for name in SCHEDULES:
        betas, row = named_betas(name, 1000), f"tr[data-name={name}]"
        abar = alphas_cumprod(betas)
        assert math.isclose(number(inspector, f"{row} .snr span:first-child"), signal_to_noise(abar)[-1], rel_tol=6e-3)
        for view, value in {"abar": abar, "beta": betas, "snr": signal_to_noise(abar)}.items():
            inspector.locator(f"#inspector input[name=inspect-view][value={view}]").check()
            assert math.isclose(number(inspector, f"{row} .now"), value[699], rel_tol=6e-3), (name, view)
        ends_well = terminal_warning(abar) is None
        expect(inspector.locator(f"#inspector {row} .snr")).to_contain_text(
            "✓ ends in noise" if ends_well else "✗ image left"
        )


def test_the_curves_are_the_packages_tables_and_the_mark_follows_t(inspector):
    open_lesson(inspector, "schedules")
    inspector.get_by_label("show sigmoid").check()
    set_t(inspector, 500)
    drawn = curve(inspector, "curve")
    assert set(drawn) == {"x", "linear", "cosine", "flow", "sigmoid"} and drawn["x"][-1] == 1000
    for label, name in {
        "linear": "linear",
        "cosine": "squaredcos_cap_v2",
        "flow": "flow",
        "sigmoid": "sigmoid",
    }.items():
        abar = [1.0, *alphas_cumprod(named_betas(name, 1000)).tolist()]
        assert drawn[label] == pytest.approx([abar[int(t)] for t in drawn["x"]], abs=1e-12)
    mark = inspector.locator("#inspector .curve .chart-t")
    first = mark.bounding_box()["x"]
    set_t(inspector, 600)
    assert mark.bounding_box()["x"] > first + 20


def test_a_logarithmic_view_is_named_has_titles_and_leaves_out_what_has_no_logarithm(inspector):
    open_lesson(inspector, "schedules")
    inspector.locator("#inspector input[name=inspect-view][value=snr]").check()
    axes = inspector.locator("#inspector .curve").evaluate("p => p.chart.axes.map(axis => axis.label)")
    assert axes == ["t", "SNR, signal / noise (log scale)"]
    texts = inspector.locator("#inspector .curve").evaluate(
        "p => p.chart.axes[1].values(p.chart, [0.001, 0.002, 0.01, 0.05, 1, 10, null])"
    )
    assert texts == ["10⁻³", "", "10⁻²", "", "10⁰", "10¹", ""]
    assert curve(inspector, "curve")["linear"][0] is None, "SNR is infinite at t = 0"
    set_t(inspector, 0)
    assert inspector.locator("#inspector .curve .chart-dot:visible").count() == 0


def test_negative_numbers_have_a_minus_sign(inspector):
    chart = inspector.locator("#inspector .histogram")
    ticks = chart.evaluate("p => p.chart.axes[0].values(p.chart, [-4, -0.5, 0, 0.0005, 1000, null])")
    assert ticks == ["−4", "−0.5", "0", "0.0005", "1,000", ""]
    chart.focus()
    inspector.keyboard.press("Home")
    expect(chart.locator(".u-legend .u-value").first).to_have_text("−4")
    expect(chart.locator(".u-legend .u-value").last).to_have_text("1.34·10⁻⁴")
    open_lesson(inspector, "schedules")
    inspector.locator("#lesson:not(.busy) #lesson-schedules").wait_for()
    tables = inspector.locator("#inspector table:visible").all_inner_texts()
    assert any("−" in text for text in tables) and not re.search(r"-\d", "".join(tables))


def test_flow_matching_is_a_schedule_whose_identities_hold_at_every_t(inspector):
    open_lesson(inspector, "schedules")
    x0, eps = lion().double()[0].permute(1, 2, 0), explorer_data.make_noise(0).double()
    for name, t in [("linear", 300), ("flow", 250), ("flow", 1000)]:
        choose(inspector, name)
        set_t(inspector, t)
        abar = alphas_cumprod(named_betas(name, 1000))[t - 1]
        assert number(inspector, ".flow-time") == pytest.approx(float(flow_time(abar)), abs=1e-4)
        assert number(inspector, ".flow-scale") == pytest.approx(float(path_scale(abar)), abs=1e-4)
        v = abar.sqrt() * eps - (1 - abar).sqrt() * x0
        for target, values in {"x₀": x0, "ε": eps, "v": v, "u": eps - x0}.items():
            cells = inspector.locator(f"#inspector .flow [data-target={target}] td").all_inner_texts()
            assert float(cells[0].translate(SUPERSCRIPTS)) == pytest.approx(float(values[64, 64, 0]), abs=2e-4), (
                name,
                t,
                target,
            )
            assert cells[1].endswith(f"= {cells[0]}")
            difference = cells[2].translate(SUPERSCRIPTS).replace(" × 10", "e")
            assert float(difference) < 1e-5


def test_only_lessons_that_compare_leave_the_schedule_of_the_model(inspector):
    on = inspector.locator("#inspector .on")
    expect(on).to_have_text("linear, for comparison (this model: cosine)")
    inspector.locator("#inspector .lessons [data-lesson=training]").click()
    expect(on).to_have_text("cosine, this model's schedule")
    expect(inspector.locator("#inspect-steps")).to_have_count(0)


def test_each_drawn_schedule_has_a_strip_that_says_where_the_image_is_gone(inspector):
    open_lesson(inspector, "schedules")
    inspector.get_by_label("show flow").uncheck()
    strips = inspector.locator("#inspector .strips > div")
    assert strips.count() == 2
    for row, name in zip(strips.all(), ("linear", "squaredcos_cap_v2"), strict=True):
        gone = int((alphas_cumprod(named_betas(name, 1000)) < 0.01).nonzero()[0]) + 1
        expect(row).to_contain_text(f"from t = {gone} on: {math.floor((1001 - gone) / 10 + 0.5)} % of the steps")
    inspector.get_by_label("show cosine").uncheck()
    expect(strips).to_have_count(1)
    inspector.get_by_label("select jsd").check()
    expect(strips).to_have_count(2)
    strips.nth(0).locator(".frame").nth(2).click()
    expect(inspector.get_by_label("select linear")).to_be_checked()


def test_another_number_of_steps_keeps_the_place_and_says_which_schedules_cannot(inspector):
    open_lesson(inspector, "schedules")
    set_steps(inspector, "20")
    expect(inspector.locator("#inspector .t-value")).to_have_text("5 of 20")
    expect(inspector.locator("#inspector .missing")).to_contain_text("needs more than 20 timesteps")
    expect(inspector.get_by_label("select cosine")).to_be_checked()
    inspector.get_by_label("show constant").check()
    expect(inspector.locator("#inspector tr[data-name=const] .snr")).to_contain_text("✗ image left")
    expect(inspector.locator("#inspector .missing")).to_contain_text(
        terminal_warning(alphas_cumprod(named_betas("const", 20)))
    )
    set_steps(inspector, "4000")
    expect(inspector.locator("#inspector .t-value")).to_have_text("1000 of 4000")
    assert abs(shown_abar(inspector) - alphas_cumprod(named_betas("squaredcos_cap_v2", 4000))[999]) < 1e-3


def test_a_number_of_steps_that_cannot_be_is_one_sentence_and_nothing_is_lost(inspector):
    open_lesson(inspector, "schedules")
    for wanted, possible in [("1", 100), ("4001", 4000), ("2.5", 2), ("", 400)]:
        before = pixels(inspector, "xt")
        set_steps(inspector, wanted)
        expect(inspector.locator("#inspect-steps")).to_contain_text("T must be a whole number from 2 to 4000.")
        assert pixels(inspector, "xt") == before
        set_steps(inspector, str(possible))
        expect(inspector.locator("#inspector .t-value")).to_have_text(re.compile(f" of {possible}$"))
        expect(inspector.locator("#inspect-steps")).not_to_contain_text("must be")


# Terminal distribution


def test_the_divergence_is_the_packages(inspector):
    for name, t in [("linear", 1), ("linear", 640), ("squaredcos_cap_v2", 1000)]:
        choose(inspector, name)
        set_t(inspector, t)
        diffusion = Diffusion(named_betas(name, 1000))
        assert math.isclose(
            number(inspector, ".kl-number"), explorer_data.kl_bits(diffusion, lion())[t - 1], rel_tol=6e-3
        )
        assert math.isclose(number(inspector, ".kl-end"), prior_bits(diffusion, lion().double()), rel_tol=6e-3)


def test_the_histogram_is_that_of_the_noisy_image(inspector):
    t = 250
    xt = (
        Diffusion(named_betas("linear", 1000))
        .q_sample(lion(), t - 1, explorer_data.make_noise(0).permute(2, 0, 1)[None])
        .numpy()
    )
    assert abs(number(inspector, ".mean") - xt.mean()) < 1e-3 and abs(number(inspector, ".spread") - xt.std()) < 1e-3
    wanted, _ = np.histogram(xt, 64, (-4, 4))
    densities = np.array(curve(inspector, "histogram")["noisy image"][:64])
    assert np.abs(densities - wanted / xt.size / 0.125).max() < 2e-3


# Layout


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_it_fits_every_screen_and_its_text_can_be_read(open_page, name, viewport, theme):
    page = open_page(viewport, theme)
    page.get_by_role("tab", name="Inspect").click()
    expect(page.locator("#inspector .t-value")).to_have_text("250 of 1000")
    page.locator("#inspect-image img").wait_for()
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"inspect-{name}-{theme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert inspector_charts(page) == ["histogram", "kl"]
    open_lesson(page, "schedules")
    set_steps(page, "300")
    page.locator("#inspector input[name=inspect-view][value=snr]").check()
    expect(page.locator("#inspector .t-value")).to_have_text("75 of 300")
    assert inspector_charts(page) == ["curve"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def inspector_charts(page: Page) -> list[str]:
    """Return the visible charts of the explorer, whose axes have titles and letters of at least 12 pixels."""
    return page.evaluate(
        "[...document.querySelectorAll('#inspector .line-chart')]"
        ".filter(p => p.clientWidth && p.chart.width === p.clientWidth"
        " && p.chart.axes.every(a => a.label && parseFloat(a.font[0]) >= 12 * devicePixelRatio))"
        ".map(p => p.classList[0])"
    )
