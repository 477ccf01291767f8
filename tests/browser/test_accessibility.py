"""Every tab, light and dark, on a desktop and a phone: axe-core finds nothing serious that is ours; keys alone do everything; motion can be off."""

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS

TABS = ("Sample", "Train", "Inspect")
# Gradio's own: the button of an upload area is named otherwise than what stands in it, those of image examples are not named at all.
GRADIOS_OWN = {
    "label-content-name-mismatch": "",
    "button-name": "gallery-item",
    "scrollable-region-focusable": "cm-scroller",
}
OPTIONS = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


UNFOLD = "() => document.querySelectorAll('button.label-wrap:not(.open)').forEach(b => b.offsetParent && b.click())"


def serious(page) -> dict[str, list[str]]:
    """What axe finds on the page as it stands, by rule, that is serious or worse and not Gradio's own."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    places = {}
    for violation in (v for v in found if v["impact"] in ("serious", "critical")):
        ours = [node for node in violation["nodes"] if GRADIOS_OWN.get(violation["id"], "nowhere") not in node["html"]]
        places[violation["id"]] = [
            f"{node['html'][:160]}: {node['failureSummary'].splitlines()[-1].strip()}" for node in ours
        ]
    return {rule: nodes for rule, nodes in places.items() if nodes}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("device", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_axe_finds_nothing_serious(open_page, device, viewport, theme):
    page, found = open_page(viewport, theme), {}
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        if tab == "Inspect":
            page.locator("#lesson .panel").wait_for()
        ways = page.locator("#sample-ways [role=tab]:visible").all() if tab == "Sample" else []
        for way in ways or [None]:
            if way:
                way.click()
            page.evaluate(UNFOLD)
            page.wait_for_timeout(500)  # until what unfolds has its colors
            found |= {f"{tab}: {rule}": places for rule, places in serious(page).items()}
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"axe-{device}-{theme}.json").write_text(json.dumps(found, indent=1))
    assert not found, json.dumps(found, indent=1)


def test_keys_alone_make_images(open_page):
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
        raise AssertionError("Tab never comes to Generate")
    outlined = (
        "button => { const s = getComputedStyle(button); return s.outlineStyle !== 'none' || s.boxShadow !== 'none' }"
    )
    assert generate.evaluate(outlined), "the focus can be seen"
    page.keyboard.press("Enter")
    expect(page.locator("#stage .status").first).to_contain_text("2 images in", timeout=60_000)


def test_keys_alone_turn_to_every_tab(open_page):
    page = open_page()
    page.get_by_role("tab", name="Sample").focus()
    for tab in TABS[1:]:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")


def test_nothing_moves_where_motion_is_not_wanted(open_page):
    page = open_page()
    page.emulate_media(reduced_motion="reduce")
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(1500)
        moving = page.evaluate(
            "() => document.getAnimations().filter(a => a.playState === 'running' && a.effect.getComputedTiming().duration > 10)"
            ".map(a => a.effect.target && a.effect.target.className + ' ' + (a.animationName || a.transitionProperty))"
        )
        assert moving == [], (tab, moving)
