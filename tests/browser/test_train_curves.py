"""Curves of the Train tab: values under the pointer and by keyboard, live updates, and tick labels on a phone."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE

RECORD_TEXTS = """
const { fillText, clearRect } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.clearRect = function (...area) {
  this.canvas.texts = [];
  clearRect.apply(this, area);
};
CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
  const size = this.measureText(text), matrix = this.getTransform();
  const xs = [x - size.actualBoundingBoxLeft, x + size.actualBoundingBoxRight];
  const ys = [y - size.actualBoundingBoxAscent, y + size.actualBoundingBoxDescent];
  const corners = xs.flatMap((x) => ys.map((y) => matrix.transformPoint({ x, y })));
  const [across, down] = [corners.map((p) => p.x), corners.map((p) => p.y)];
  const box = [Math.min(...across), Math.min(...down), Math.max(...across), Math.max(...down)];
  this.canvas.texts.push({ text, box });
  fillText.call(this, text, x, y, ...rest);
};
"""
DRAW_LONG_RUN = """([steps, loss]) => {
  const plot = document.querySelector("#curves .plot"), { spec } = plot, xs = [1, steps / 2, steps];
  const series = spec.series.map((one) => ({ ...one, values: [1, 10, 100].map((divisor) => loss / divisor) }));
  lineChart(plot, { ...spec, xs, series, x: { ...spec.x, range: [0, steps] } });
}"""


@pytest.fixture
def open_curves(open_page):
    """A function that opens the page and shows the curves of the trained run."""

    def open_one(viewport=DESKTOP):
        page = open_page(viewport, script=RECORD_TEXTS)
        page.get_by_role("tab", name="Train").click()
        page.get_by_role("button", name="Show run", exact=True).click()
        page.locator("#curves canvas").wait_for()
        return page.locator("#curves .plot")

    return open_one


def test_pointer_and_keyboard_read_values_and_without_them_the_latest_are_shown(open_curves):
    plot = open_curves()
    step, values = plot.locator(".u-value").first, plot.locator(".u-value")
    expect(step).to_have_text("12")
    latest = values.all_inner_texts()
    plot.locator(".u-over").hover(position={"x": 3, "y": 50})
    expect(step).to_have_text("1")
    expect(values.nth(1)).to_have_text(re.compile(r"^\d"))
    plot.page.mouse.move(0, 0)
    expect(step).to_have_text("12")
    assert values.all_inner_texts() == latest
    plot.focus()
    plot.press("Home")
    plot.press("ArrowRight")
    expect(step).to_have_text("5")
    expect(plot.locator("[role=status]")).to_have_text(re.compile(r"Training step 5, .*Training \(smoothed\) \d"))
    plot.press("End")
    assert values.all_inner_texts() == latest
    plot.press("Home")
    plot.blur()
    expect(step).to_have_text("12")
    expect(plot).to_have_attribute("aria-label", "Loss over training steps. Arrow keys read its values.")


def test_an_update_keeps_what_is_read(open_curves):
    plot = open_curves()
    plot.evaluate("plot => { plot.drawn = plot.querySelector('canvas'); }")
    plot.focus()
    plot.press("Home")
    plot.page.evaluate(DRAW_LONG_RUN, [200, 0.5])
    expect(plot.locator(".u-value").nth(1)).to_have_text("0.5")
    expect(plot.locator(".u-value").first).to_have_text("1")
    assert plot.evaluate("plot => plot.drawn.isConnected && document.activeElement === plot")
    plot.blur()
    expect(plot.locator(".u-value").first).to_have_text("200")
    plot.locator(".u-over").hover(position={"x": 3, "y": 50})
    plot.page.evaluate(DRAW_LONG_RUN, [300, 0.25])
    expect(plot.locator(".u-value").nth(1)).to_have_text("0.25")


def test_tick_labels_on_a_phone_are_neither_cut_nor_overlap(open_curves):
    plot = open_curves(PHONE)
    for run in (None, (7, 0.03), (2_500, 1.0), (250_000, 0.004), (1_000_000, 1e-4), (30_000, 900.0)):
        if run:
            plot.page.evaluate(DRAW_LONG_RUN, run)
        plot.page.wait_for_timeout(300)
        texts, width, height = plot.locator("canvas").evaluate("canvas => [canvas.texts, canvas.width, canvas.height]")
        labels = [(text["text"], text["box"]) for text in texts if text["text"].strip()]
        assert {"Training step", "Loss (log scale)"} <= {label for label, _ in labels} and len(labels) >= 6, labels
        for i, (label, (left, top, right, bottom)) in enumerate(labels):
            assert left >= 0 and top >= 0 and right <= width and bottom <= height, (run, label)
            for other, box in labels[:i]:
                apart = right <= box[0] or box[2] <= left or bottom <= box[1] or box[3] <= top
                assert apart, (run, label, other)
        assert plot.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
