"""What a new user wants to do, with the keyboard alone: no click, no focus set by the test."""

import re
import shutil
import zipfile

import pytest
from playwright.sync_api import Locator, Page, expect

SOON = 120_000
MAX_TABS = 120


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab, or Shift+Tab from below, until the element or a part of it has the focus."""
    expect(target).to_be_visible(timeout=SOON)
    above = target.evaluate(
        "e => Boolean(document.activeElement.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_PRECEDING)"
    )
    for _ in range(MAX_TABS):
        if target.evaluate("e => e.contains(document.activeElement)"):
            return
        page.keyboard.press("Shift+Tab" if above else "Tab")
    raise AssertionError(f"{target} cannot be reached with the Tab key")


def press(page: Page, target: Locator) -> None:
    expect(target).to_be_enabled(timeout=SOON)
    tab_to(page, target)
    page.keyboard.press("Enter")


def type_into(page: Page, target: Locator, text: str) -> None:
    tab_to(page, target)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def open_train(page: Page) -> None:
    tab_to(page, page.get_by_role("tab", name="Sample", exact=True))
    press(page, page.get_by_role("tab", name="Train", exact=True))


def load_images(page: Page, folder) -> None:
    paths = page.get_by_label("Or enter folder or ZIP paths, one per line")
    type_into(page, paths, str(folder))
    press(page, page.get_by_role("button", name="Load", exact=True))


def test_four_images_of_a_class_are_made_downloaded_and_found_again_after_a_reload(open_page, tmp_path):
    page = open_page()
    robot = page.locator("#class-cards").get_by_role("radio", name="robot", exact=True)
    tab_to(page, page.locator("#class-cards"))
    for _ in range(12):
        if robot.is_checked():
            break
        page.keyboard.press("ArrowDown")
    expect(robot).to_be_checked()
    type_into(page, page.get_by_label("number input for Images"), "4")
    press(page, page.get_by_role("button", name="Generate", exact=True))
    expect(page.locator("#stage .status").first).to_contain_text("4 images in", timeout=SOON)
    with page.expect_download() as download:
        press(page, page.locator("#zip"))
    download.value.save_as(tmp_path / "images.zip")
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 4
    expect(page.locator("#history .strip button")).to_have_count(4)
    page.reload()
    expect(page.locator("#history .strip button")).to_have_count(4, timeout=SOON)
    press(page, page.locator("#history .strip button").first)
    expect(page.locator(".viewer .words")).to_contain_text("robot")
    page.keyboard.press("Escape")
    expect(page.locator(".viewer")).to_be_hidden()


@pytest.mark.usefixtures("kill_trainers_of_the_page")
def test_a_folder_is_trained_on_its_unreadable_image_explained_and_runs_reordered(open_page, digits, tmp_path):
    folder = tmp_path / "keyboard"
    shutil.copytree(digits, folder)
    (folder / "two" / "broken.png").write_bytes(b"not an image")
    page = open_page()
    open_train(page)
    load_images(page, folder)
    report = page.locator("#train-report")
    expect(report).to_contain_text("60 images", timeout=SOON)
    expect(report).to_contain_text("two/broken.png")
    start_from = page.get_by_role("combobox", name="Start from")
    type_into(page, start_from, "New network, tiny")
    page.keyboard.press("Enter")
    rows = page.locator("#train-table li")
    for number in (1, 2, 3):
        press(page, page.locator("#train-start"))
        expect(rows.filter(has_text=f"keyboard-{number}")).to_have_count(1, timeout=SOON)
    press(page, page.get_by_role("button", name="Move up keyboard-3"))
    expect(rows.filter(has_text="keyboard-3")).to_contain_text("number 1", timeout=SOON)
    for name in ("keyboard-2", "keyboard-3"):
        press(page, page.get_by_role("button", name=f"Remove {name}"))
        press(page, page.get_by_role("button", name=f"Remove from the queue: {name}"))
        expect(rows.filter(has_text=name)).to_have_count(0, timeout=SOON)
    press(page, page.get_by_role("button", name="Show keyboard-1"))
    press(page, page.locator("#train-stop"))
    expect(page.locator("#train-line")).to_contain_text("Stopped", timeout=SOON)
    press(page, page.locator("#train-open"))
    expect(page.get_by_role("combobox", name="Model").first).to_have_value(re.compile("keyboard-1"), timeout=SOON)
