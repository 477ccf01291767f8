"""Accessibility of every tab: axe-core in both themes and on two screen sizes, keyboard control, reduced motion."""

import json
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS

TABS = ("Sample", "Train", "Inspect")
# Violations in Gradio's own components: the upload area's button has a name other than its text, and the code
# editor cannot be focused. Value: text in the HTML of the affected nodes.
GRADIO_VIOLATIONS = {
    "label-content-name-mismatch": "",
    "scrollable-region-focusable": "cm-scroller",
}
OPTIONS = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


OPEN_ACCORDIONS = (
    "() => document.querySelectorAll('button.label-wrap:not(.open)').forEach(b => b.offsetParent && b.click())"
)


def serious_violations(page) -> dict[str, list[str]]:
    """Return the serious and critical violations that are not in Gradio's own components, by rule."""
    violations = Axe().run(page, options=OPTIONS).response["violations"]
    nodes_by_rule = {}
    for violation in (v for v in violations if v["impact"] in ("serious", "critical")):
        ours = [
            node for node in violation["nodes"] if GRADIO_VIOLATIONS.get(violation["id"], "nowhere") not in node["html"]
        ]
        nodes_by_rule[violation["id"]] = [
            f"{node['html'][:160]}: {node['failureSummary'].splitlines()[-1].strip()}" for node in ours
        ]
    return {rule: nodes for rule, nodes in nodes_by_rule.items() if nodes}


# A lesson is dimmed while it is computed.
COUNT_CHANGES = """() => {
  window.lessonChanges = 0;
  new MutationObserver(() => window.lessonChanges++)
    .observe(document.querySelector("#lesson"), { attributes: true, attributeFilter: ["class"] });
}"""


def violations_of_a_steady_page(page) -> dict[str, list[str]]:
    """Return the violations once no lesson was computed while they were looked for."""
    while True:
        expect(page.locator("#lesson.busy")).to_have_count(0, timeout=120_000)
        before = page.evaluate("window.lessonChanges")
        found = serious_violations(page)
        if page.evaluate("window.lessonChanges") == before:
            return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("device", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_axe_finds_nothing_serious(open_page, device, viewport, theme):
    page, violations = open_page(viewport, theme), {}
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        if tab == "Inspect":
            page.locator("#lesson:not(.busy) .panel").wait_for(timeout=120_000)
            page.evaluate(COUNT_CHANGES)
        modes = page.locator("#sample-ways [role=tab]:visible").all() if tab == "Sample" else []
        for mode in modes or [None]:
            if mode:
                mode.click()
            page.evaluate(OPEN_ACCORDIONS)
            page.wait_for_timeout(500)  # until the opened accordions have their final colors
            found = violations_of_a_steady_page(page)
            violations |= {f"{tab}: {rule}": nodes for rule, nodes in found.items()}
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"axe-{device}-{theme}.json").write_text(json.dumps(violations, indent=1))
    assert not violations, json.dumps(violations, indent=1)


WIDTHS = """() => [...document.querySelectorAll("#introduction, #sample-tab, #train-tab, #inspect-tab")]
  .map((part) => part.getBoundingClientRect()).filter(({ width }) => width)
  .map(({ left, width }) => `${left} ${width}`)"""
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
  .filter((heading) => heading.checkVisibility()).map((heading) => heading.tagName)"""


def test_every_tab_has_the_same_width_and_skips_no_level_of_headings(open_page):
    page = open_page()
    widths = {1280: set(), 1920: set()}
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.locator("#lesson .panel, #train-table li, #stage .cell").locator("visible=true").first.wait_for()
        for screen in widths:
            page.set_viewport_size({"width": screen, "height": 900})
            page.evaluate(OPEN_ACCORDIONS)
            page.wait_for_timeout(500)  # until Gradio has laid out what is open
            found = page.evaluate(WIDTHS)
            assert len(found) == 2, found  # the header and the open tab
            widths[screen] |= set(found)
        headings = page.evaluate(HEADINGS)
        assert headings.count("H1") == 1 and len(headings) > 1, headings
        assert all(int(after[1]) <= int(before[1]) + 1 for before, after in pairwise(headings)), (tab, headings)
    assert all(len(found) == 1 for found in widths.values()), widths
    assert all(float(found.pop().split()[1]) > 0.6 * screen for screen, found in widths.items())


def test_the_focus_is_visible_on_every_kind_of_field(open_page):
    page = open_page()
    page.keyboard.press("Tab")  # from now on the browser shows the focus
    fields = {"Sample": ["input[type=range]", "input[type=checkbox]", "#seed input"], "Train": ["textarea"]}
    for tab, selectors in fields.items():
        page.get_by_role("tab", name=tab).press("Enter")
        for selector in selectors:
            field = page.locator(f"{selector}:visible:enabled").first
            field.focus()
            style = field.evaluate(
                "field => { const s = getComputedStyle(field); return s.outlineStyle + s.outlineWidth }"
            )
            assert style == "solid2px", (selector, style)


def test_images_can_be_generated_with_the_keyboard(open_page):
    page = open_page()
    page.get_by_label("number input for Images").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    generate = page.get_by_role("button", name="Generate", exact=True)
    for _ in range(60):
        page.keyboard.press("Tab")
        if generate.evaluate("button => button === document.activeElement"):
            break
    else:
        raise AssertionError("Generate cannot be reached with the Tab key")
    has_outline = (
        "button => { const s = getComputedStyle(button); return s.outlineStyle !== 'none' || s.boxShadow !== 'none' }"
    )
    assert generate.evaluate(has_outline), "the focused button has no visible outline"
    page.keyboard.press("Enter")
    expect(page.locator("#stage .status").first).to_contain_text("2 images in", timeout=60_000)


def test_tabs_can_be_switched_with_the_keyboard(open_page):
    page = open_page()
    page.get_by_role("tab", name="Sample").focus()
    for tab in TABS[1:]:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")


def test_a_dropdown_closes_when_the_focus_leaves_it(open_page):
    page = open_page()
    for key in ("ArrowDown", None):  # open, or passed by
        page.get_by_role("combobox", name="Model").focus()
        if key:
            page.keyboard.press(key)
            expect(page.get_by_role("listbox")).to_have_count(1)
        page.keyboard.press("Tab")
        expect(page.get_by_role("listbox")).to_have_count(0)
        expect(page.locator("#class-cards").get_by_role("radio", name="All classes")).to_be_focused()


def test_a_key_pressed_just_before_the_focus_leaves_opens_no_dropdown(open_page):
    page = open_page()
    model = page.get_by_role("combobox", name="Model")
    model.focus()
    expect(page.get_by_role("listbox")).to_have_count(1)
    model.evaluate(
        "box => { box.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true })); box.blur(); }"
    )
    page.wait_for_timeout(500)
    expect(page.get_by_role("listbox")).to_have_count(0)


def test_reduced_motion_stops_all_animations(open_page):
    page = open_page()
    page.emulate_media(reduced_motion="reduce")
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(1500)
        moving = page.evaluate(
            "() => document.getAnimations()"
            ".filter(a => a.playState === 'running' && a.effect.getComputedTiming().duration > 10)"
            ".map(a => a.effect.target && a.effect.target.className + ' ' + (a.animationName || a.transitionProperty))"
        )
        assert moving == [], (tab, moving)
