"""The list of runs on the Train tab: what its rows do, and that it stays in its place."""

import re
import shutil
import zipfile

import pytest
from playwright.sync_api import expect

from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.training.run_folder import resolve_checkpoint
from tests.browser.conftest import SCREENSHOTS, open_part
from tests.browser.test_sample_tab import choose_model
from tests.browser.test_train_tab import SOON, choose, open_train, place_at_rest, row

pytestmark = pytest.mark.usefixtures("kill_trainers_of_the_page")


def test_runs_can_be_opened_compared_exported_renamed_and_deleted(open_page, trained_run, tmp_path):
    for name in ("copy", "spare"):
        shutil.copytree(trained_run, trained_run.parent / name)
    page = open_page()
    choose_model(page, "copy, step 12")
    page.get_by_role("tab", name="Train").click()
    row(page, "copy").get_by_role("button", name="Show copy", exact=True).click()
    expect(page.get_by_role("combobox", name="Run", exact=True)).to_have_value("copy")
    open_part(page, "Compare and repeat")
    choose(page, "Compare loss with", "spare")
    page.keyboard.press("Escape")
    expect(page.locator("#curves .u-legend")).to_contain_text(re.compile(r"copy\s*\d.*spare\s*\d", re.DOTALL))
    page.screenshot(path=SCREENSHOTS / "train-compare-desktop-light.png", full_page=True)
    with page.expect_download() as download:
        row(page, "copy").get_by_role("button", name="Export copy").click()
    download.value.save_as(tmp_path / "copy.zip")
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        archive.extractall(tmp_path)
        assert not [name for name in archive.namelist() if "/state/" in name]
    assert load_checkpoint(resolve_checkpoint(tmp_path / "copy")).description.steps == 12
    expect(page.locator("#train-zip")).to_have_text("Download copy.zip")
    rename_and_delete(page, trained_run.parent)
    shutil.rmtree(trained_run.parent / "spare")
    expect(row(page, "spare")).to_have_count(0, timeout=SOON)


def rename_and_delete(page, runs):
    """Rename a run in its row, and delete it after one cancellation."""
    row(page, "copy").get_by_role("button", name="Rename copy").click()
    page.get_by_label("New name of copy").fill("my / digits")
    page.keyboard.press("Enter")
    expect(page.locator("#train-zip")).to_be_hidden()  # it has the old name
    renamed = row(page, "my-digits")
    expect(renamed).to_be_visible(timeout=SOON)
    assert (runs / "my-digits").is_dir() and not (runs / "copy").exists()
    model = page.get_by_role("combobox", name="Model").first
    page.get_by_role("tab", name="Sample").click()
    expect(model).to_have_value("my-digits, step 12")
    page.get_by_role("tab", name="Train").click()
    renamed.get_by_role("button", name="Delete my-digits").click()
    page.get_by_role("button", name="Keep my-digits").click()
    renamed.get_by_role("button", name="Delete my-digits").click()
    page.get_by_role("button", name="Delete permanently: my-digits").click()
    expect(renamed).to_have_count(0, timeout=SOON)
    assert not (runs / "my-digits").exists() and (runs / "spare").exists()
    page.get_by_role("tab", name="Sample").click()
    gone = page.get_by_test_id("toast-body").filter(
        has_text="my-digits/step_000012 was renamed, deleted or trained further"
    )
    expect(gone).to_be_visible()
    expect(model).to_have_value("Avatars, 32x32 (bundled)")
    expect(page.locator("#class-cards").get_by_role("radio", name="robot", exact=True)).to_be_visible()
    page.get_by_role("tab", name="Train").click()


def test_the_list_of_runs_stays_under_the_pointer_while_the_previews_above_it_grow(open_page, trained_run):
    page = open_page()
    page.get_by_role("tab", name="Train", exact=True).click()
    page.set_viewport_size({"width": 1280, "height": 500})
    runs = page.locator("#train-table li").first
    runs.wait_for(timeout=SOON)
    runs.evaluate("row => scrollBy(0, row.getBoundingClientRect().top - 300)")
    runs.hover()
    before = place_at_rest(page, runs)
    runs.hover(position={"x": 5, "y": 5})
    page.evaluate("document.querySelector('#timeline').style.paddingBottom = '300px'")
    assert abs(place_at_rest(page, runs) - before) < 2


def test_a_row_asks_how_long_to_continue_and_shows_the_run(open_page, trained_run):
    for name in ("older", "newer"):
        shutil.copytree(trained_run, trained_run.parent / name)
    page = open_train(open_page)
    expect(page.get_by_role("combobox", name="Run", exact=True)).to_have_value("newer", timeout=SOON)
    page.set_viewport_size({"width": 1280, "height": 500})
    row(page, "older").get_by_role("button", name="Continue older").click()
    time = page.get_by_label("Training time to add to older")
    expect(time).to_be_focused()
    page.keyboard.press("Escape")
    expect(row(page, "older").get_by_role("button", name="Continue older")).to_be_focused()
    page.keyboard.press("Enter")
    time.select_option("15 min")
    page.get_by_role("button", name="Train older for this time").click()
    expect(page.get_by_role("combobox", name="Run", exact=True)).to_have_value("older")
    line = page.locator("#train-line")
    expect(line).to_contain_text(re.compile(r"Training.*step (1[3-9]|[2-9]\d)\b.* min left"), timeout=SOON)
    expect(line).to_be_in_viewport()
    page.locator("#train-stop").click()
    expect(line).to_contain_text("Stopped", timeout=SOON)
