"""The Train tab as a new user sees it: upload a zip, train, reload, stop, sample from the trained model."""

import re
import shutil
import zipfile
from typing import Any, cast

import pytest
from PIL import Image
from playwright.sync_api import expect
from sklearn.datasets import load_digits

from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS, open_part
from tests.browser.servers import serving

SOON = 120_000
# Record the distance from the previews to the list of runs whenever the previews or the curves change their height.
RECORD_PLACES = """() => {
  const top = (id) => document.querySelector(id).getBoundingClientRect().top;
  window.places = [];
  const observer = new ResizeObserver(() => places.push(top("#train-table") - top("#timeline")));
  for (const view of document.querySelectorAll("#timeline, #curves")) observer.observe(view);
}"""
pytestmark = pytest.mark.usefixtures("kill_trainers_of_the_page")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A zip of 120 digits in three class folders, and one file that is not an image."""
    folder = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(folder / "my digits.zip", "w") as file:
        source = cast(Any, load_digits())
        for digit, name in ((1, "one"), (2, "two"), (3, "three")):
            for i, pixels in enumerate(source.images[source.target == digit][:40]):
                Image.fromarray((255 - pixels * 255 / 16).astype("uint8")).resize(
                    (32, 32), Image.Resampling.BICUBIC
                ).save(folder / "digit.png")
                file.write(folder / "digit.png", f"{name}/{i:03d}.png")
        file.writestr("two/broken.png", b"not an image")
    return folder / "my digits.zip"


def open_train(open_page, viewport=DESKTOP, theme="light"):
    page = open_page(viewport, theme)
    page.get_by_role("tab", name="Train").click()
    page.locator("#train-files").wait_for()
    return page


def drop(page, *files):
    page.locator("#train-files input.files").set_input_files([str(file) for file in files])


def row(page, name):
    """The row of a run in the list."""
    return page.locator("#train-table li").filter(has=page.get_by_role("button", name=f"Show {name}", exact=True))


def choose(page, label, option):
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).last.click()


def place_at_rest(page, locator):
    """Return the height at which an element stands, once it has not moved for a second."""
    places = [locator.bounding_box()["y"]]
    while len(places) < 5 or len(set(places[-5:])) > 1:
        page.wait_for_timeout(250)
        places.append(locator.bounding_box()["y"])
    return places[-1]


def test_initial_state(open_page):
    page = open_train(open_page)
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    expect(page.locator("#train-note")).to_have_text("Add images in step 1 first.")
    expect(page.locator("#train-files")).to_contain_text("Drop a folder, images or one ZIP here")
    titles = [heading.inner_text() for heading in page.locator(".step h2").all()]
    assert titles == ["1 Images", "2 Settings", "3 Training", "Runs"]


def test_without_any_run_the_tab_says_what_to_do_and_shows_nothing_empty(chromium, tmp_path):
    with serving(tmp_path, {}) as server:
        page = chromium.new_context(viewport=DESKTOP).new_page()
        page.goto(f"{server.url}/?tab=train")
        expect(page.locator("#timeline .status")).to_contain_text("Nothing trained yet. Add your images in step 1")
        empty = ("#timeline .sheets", "#timeline .scrub", "#curves", "#train-actions", "#train-table li")
        for selector in empty:
            expect(page.locator(selector).locator("visible=true")).to_have_count(0)
        page.screenshot(path=SCREENSHOTS / "train-empty-desktop-light.png", full_page=True)
        page.context.close()


def test_from_a_dropped_zip_to_sampled_images(open_page, archive):
    page = open_train(open_page)
    drop(page, archive)
    check_report_and_settings(page)
    start_training(page)
    check_progress_after_reload(page)
    stop_and_sample(page)


def check_report_and_settings(page):
    """Check the report on the zip, and change settings that depend on it."""
    report = page.locator("#train-report")
    expect(report).to_contain_text("120 images", timeout=SOON)
    expect(report).to_contain_text("3 classes: one (40), three (40), two (40)")
    expect(report).to_contain_text("shorter side 32 px")
    box = report.locator("img.crops").bounding_box()
    assert box and box["width"] / 8 >= 90, "the crops are large enough to see"
    report.locator("summary").click()
    expect(report).to_contain_text("two/broken.png")
    assert report.locator("img.crops").evaluate("i => i.naturalWidth > 0")
    open_part(page, "All settings")
    before = report.locator("img.crops").get_attribute("src")
    choose(page, "Non-square images", "Squash")
    choose(page, "Color", "Grayscale")
    expect(page.locator("#setting-channels")).to_contain_text("keep 3 channels", timeout=SOON)
    choose(page, "Color", "Color")
    choose(page, "Learning-rate schedule", "Constant, then decay")
    page.get_by_label("Batch size").fill("8")
    expect(page.locator("#train-note")).to_contain_text("Training speed", timeout=SOON)
    expect(page.get_by_label(re.compile(r"Quick try, 3 min \(sees each image about \d+ times\)"))).to_be_checked()
    expect(page.locator("#train-start")).to_be_in_viewport()
    assert report.locator("img.crops").get_attribute("src") == before, "square images are not squashed"
    page.screenshot(path=SCREENSHOTS / "train-ready-desktop-light.png", full_page=True)


def start_training(page):
    """Start a run, and check that it trains and shows previews."""
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.get_by_role("button", name="Start", exact=True).click()
    line = page.locator("#train-line")
    expect(line).to_be_in_viewport(timeout=SOON)
    expect(line).to_contain_text("Starting", timeout=SOON)
    page.evaluate(RECORD_PLACES)
    expect(page.locator("#train-start")).to_have_text("Add to queue")
    expect(page.locator("#train-start")).to_be_enabled()
    expect(line).to_contain_text(re.compile(r"Training.*step \d+.*has seen .*images/s.*left.*GB"), timeout=SOON)
    expect(line).to_contain_text("Previews begin to resemble your images after about 3,000 training images")
    expect(line).to_contain_text("my-digits-1")
    expect(page.locator("#timeline .status")).to_contain_text("Before training", timeout=SOON)
    expect(page.locator("#timeline .status")).to_contain_text("Step 20, preview 2 of 2", timeout=SOON)
    expect(page.locator("#curves .u-legend")).to_be_visible()
    assert page.evaluate("Math.max(...places) - Math.min(...places)") < 12, "the list of runs stays where it is"
    for name, alt in (("Raw weights", "Preview of the raw weights"), ("Nearest training images",) * 2):
        page.get_by_role("button", name=name).click()
        expect(page.locator("#timeline img.other")).to_have_attribute("alt", f"{alt} at step 20")
    open_part(page, "Compare and repeat")
    expect(page.locator("#train-command")).to_contain_text("python -m diffusion_demo train --run")
    box = page.locator("#train-command").bounding_box()
    assert box and box["height"] < 300, "the command takes no more room than its text"
    decay = re.compile(r"--lr-scheduler warmup_stable_decay.* --lr-total-steps \d+")
    expect(page.locator("#train-command")).to_contain_text(decay)


def check_progress_after_reload(page):
    """Reload the page, and check that it shows the run with its curves and previews, and still has the images."""
    page.reload()
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#train-line")).to_contain_text("Training", timeout=SOON)
    page.get_by_role("button", name="Show my images (1 unreadable)").click()
    expect(page.locator("#train-report")).to_contain_text("120 images")
    expect(page.locator("#train-start")).to_be_enabled(timeout=SOON)
    page.get_by_role("button", name="Show training").click()
    expect(page.locator("#curves .u-legend")).to_contain_text(re.compile(r"Training \(smoothed\)\s*\d"))
    assert page.locator("#curves .plot").evaluate("plot => plot.chart.data[2].some(loss => loss > 0)")
    axes = "plot => plot.chart.axes.map(axis => axis.label)"
    assert page.locator("#curves .plot").evaluate(axes) == ["Training step", "Loss (log scale)"]
    check_reading_survives_updates(page)
    page.locator("#curves").get_by_text("By noise level").click()
    expect(page.locator("#curves .u-legend")).to_contain_text("Highest noise")
    page.locator("#timeline .scrub").fill("0")
    expect(page.locator("#timeline .status")).to_contain_text("Before training")
    page.screenshot(path=SCREENSHOTS / "train-running-desktop-light.png", full_page=True)


def check_reading_survives_updates(page):
    """Check that new points are drawn without a new chart, and that the keyboard's reading and focus stay."""
    plot = page.locator("#curves .plot")
    plot.focus()
    page.keyboard.press("Home")
    plot.evaluate("plot => { plot.drawn = plot.querySelector('canvas'); plot.points = plot.chart.data[0].length; }")
    page.wait_for_function("plot => plot.chart.data[0].length > plot.points", arg=plot.element_handle())
    assert plot.evaluate("plot => plot.drawn.isConnected && document.activeElement === plot")
    expect(plot.locator(".u-value").first).to_have_text("1")


def stop_and_sample(page):
    """Stop the run, and sample from its model."""
    page.get_by_role("button", name="Save now").click()
    expect(page.locator("#train-save-now")).to_have_text("Saving...")
    page.locator("#train-stop").click()
    expect(page.locator("#train-stop")).to_have_text("Stopping...")
    expect(page.locator("#train-line")).to_contain_text("Stopping")
    expect(page.locator("#train-line")).to_contain_text("Stopped", timeout=SOON)
    expect(page.locator("#train-stop")).to_have_text("Stop")
    expect(page.locator("#train-resume")).to_be_enabled()
    expect(page.locator("#train-start")).to_have_text("Start")
    expect(page.locator("#train-start")).to_be_enabled()
    page.evaluate("window.scrollTo(0, 300)")
    page.get_by_role("button", name="Open in Sample").click()
    expect(page.get_by_role("combobox", name="Model")).to_have_value(re.compile(r"my-digits-1, step \d+"))
    page.wait_for_function("window.scrollY === 0")
    expect(page.locator("#stage .invitation")).to_contain_text("my-digits-1, step")
    page.get_by_label("number input for Images").fill("2")
    page.get_by_label("number input for Images").blur()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator("#stage .status")).to_contain_text("2 images in", timeout=SOON)
    expect(page.locator("#class-cards").get_by_text("three", exact=True)).to_be_visible()


def test_invalid_settings_are_reported_at_their_fields(open_page, archive, tmp_path):
    other = tmp_path / "other.zip"
    other.write_bytes(archive.read_bytes())
    page = open_train(open_page)
    drop(page, archive, other)
    problem = page.locator("#train-problem [role=alert]")
    expect(page.get_by_test_id("toast-body")).to_contain_text("either one ZIP or images")
    expect(problem).to_contain_text("either one ZIP or images")  # stays when the toast is gone
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    drop(page, archive)
    expect(problem).to_have_count(0)

    page = open_train(open_page)
    drop(page, archive)
    expect(page.locator("#train-report")).to_contain_text("120 images", timeout=SOON)
    open_part(page, "All settings")
    rate, start = page.locator("#setting-learning_rate"), page.get_by_role("button", name="Start", exact=True)
    for text, message in (("7", "from 1e-8 to 1, not 7"), ("", "Fill in the learning rate")):
        page.get_by_label("Learning rate", exact=True).fill(text)
        expect(rate).to_contain_text(message, timeout=SOON)
        expect(page.locator("#train-note .problem")).to_contain_text(message)
        expect(start).to_be_disabled()
    page.screenshot(path=SCREENSHOTS / "train-wrong-desktop-light.png", full_page=True)
    page.get_by_label("Learning rate", exact=True).fill("1e-4")
    expect(start).to_be_enabled(timeout=SOON)
    expect(rate).not_to_contain_text("Fill in")
    page.get_by_role("combobox", name="Start from").fill("no/such-model")
    page.get_by_role("combobox", name="Start from").press("Enter")
    expect(page.locator("#train-note .problem")).to_contain_text("no/such-model", timeout=SOON)
    expect(start).to_be_disabled()


def test_start_is_ready_after_a_run_that_ends_by_its_time(open_page, trained_run, command, digits, tiny):
    page = open_train(open_page)
    drop(page, *digits.glob("one/*.png"))
    expect(page.locator("#train-start")).to_be_enabled(timeout=SOON)
    limited = ["train", "--data", digits, "--run", "limited", *tiny, "--max-minutes", "0.01"]
    assert command(*limited, cwd=trained_run.parent).returncode == 0
    expect(row(page, "limited")).to_contain_text("Finished", timeout=SOON)
    expect(page.locator("#train-start")).to_have_text("Start")
    expect(page.locator("#train-start")).to_be_enabled()
    shutil.rmtree(trained_run.parent / "limited")


def test_a_folder_keeps_its_classes_fixes_are_one_click_and_runs_wait_in_an_ordered_queue(open_page, digits, tmp_path):
    folder = tmp_path / "my set"
    shutil.copytree(digits, folder)
    shutil.copy(folder / "one" / "000.png", folder / "one" / "again.png")
    (folder / "notes.txt").write_text("words")
    page = open_train(open_page)
    page.locator("#train-files input.folder").set_input_files(folder)
    report = page.locator("#train-report")
    expect(report).to_contain_text("61 images", timeout=SOON)
    expect(report).to_contain_text("one (21), three (20), two (20)")
    expect(page.locator("#train-files")).to_contain_text("1 file skipped, not an image: notes.txt.")
    fix = report.get_by_role("button", name="Drop exact duplicates (1)")
    fix.click()
    expect(report).to_contain_text("60 images")
    expect(fix).to_have_attribute("aria-pressed", "true")
    report.get_by_role("button", name="Train at 16 x 16 pixels").click()
    expect(report).to_contain_text("16 x 16 pixels.")
    choose(page, "Start from", "New network, tiny")
    check_queue(page)


def check_queue(page):
    """Queue three runs, pause, reorder and remove them, and stop the one that trains, which stays on the stage."""
    for name in ("my-set-1", "my-set-2", "my-set-3"):
        expect(page.locator("#train-start")).to_be_enabled(timeout=SOON)
        page.locator("#train-start").click()
        if name == "my-set-3":  # checked at once: a toast vanishes after ten seconds
            expect(page.get_by_test_id("toast-body").last).to_contain_text("my-set-3 was added to the queue")
        expect(row(page, name)).to_be_visible(timeout=SOON)
        expect(page.get_by_role("combobox", name="Run", exact=True)).to_have_value("my-set-1")
    expect(row(page, "my-set-2")).to_contain_text(re.compile("In the queue.*number 1, starts in about"), timeout=SOON)
    expect(row(page, "my-set-3")).to_contain_text("number 2")
    page.get_by_role("button", name="Pause queue").click()
    expect(row(page, "my-set-2")).to_contain_text("paused")
    page.get_by_role("button", name="Move up my-set-3").click()
    expect(row(page, "my-set-3")).to_contain_text("number 1")
    page.screenshot(path=SCREENSHOTS / "train-queue-desktop-light.png", full_page=True)
    for name in ("my-set-2", "my-set-3"):
        page.get_by_role("button", name=f"Remove {name}").click()
        page.get_by_role("button", name=f"Remove from the queue: {name}").click()
        expect(row(page, name)).to_have_count(0, timeout=SOON)
    page.get_by_role("button", name="Resume queue").click()
    expect(page.locator("#train-stop")).to_be_enabled(timeout=SOON)
    page.locator("#train-stop").click()
    expect(page.locator("#train-line")).to_contain_text("Stopped", timeout=SOON)


def test_the_page_asks_for_the_status_of_runs_only_while_they_are_shown(open_page):
    page, requests = open_page(), []
    page.on("request", lambda request: requests.append(request.url))
    for tab, are_shown in (("Train", True), ("Sample", False), ("Train", True)):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(2500)
        requests.clear()
        page.wait_for_timeout(3000)
        assert bool(requests) == are_shown, (tab, requests)


def test_the_images_chosen_last_are_shown_whichever_scan_ends_last(open_page, digits, tmp_path):
    """The uploaded images are larger, so their scan ends last; the sample images were chosen after them."""
    for i in range(100):
        with Image.open(digits / "one" / f"{i % 20:03d}.png") as image:
            image.resize((3000 + i, 3000)).save(tmp_path / f"{i:03d}.png")
    page = open_train(open_page)
    drop(page, *sorted(tmp_path.glob("*.png")))
    page.locator("#train-report .reading").wait_for()
    page.locator("#train-drawn").click()
    expect(page.locator("#train-report")).to_contain_text("circle", timeout=SOON)
    page.wait_for_timeout(15_000)
    expect(page.locator("#train-report")).to_contain_text("circle")
    expect(page.locator("#train-start")).to_be_enabled(timeout=SOON)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_fields_side_by_side_stand_on_one_line_and_show_their_whole_value(open_page, viewport):
    page = open_train(open_page, viewport)
    open_part(page, "All settings")
    for left, right in (("image_size", "channels"), ("batch_size", "learning_rate"), ("label_dropout", "weight_decay")):
        bottoms = [
            box["y"] + box["height"]
            for name in (left, right)
            if (box := page.locator(f"#setting-{name} input").bounding_box())
        ]
        assert len(bottoms) == 2 and abs(bottoms[0] - bottoms[1]) < 2, (left, right, bottoms)
    arrow = page.locator("#setting-fit .dropdown-arrow").bounding_box()
    end_of_text = page.locator("#setting-fit input").evaluate(
        "input => input.getBoundingClientRect().right - parseFloat(getComputedStyle(input).paddingRight)"
    )
    assert arrow and end_of_text <= arrow["x"] + arrow["width"] * 5 / 18  # the drawn part of the arrow's square


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_train_tab_fits_the_screen(open_page, name, viewport, theme):
    page = open_train(open_page, viewport, theme)
    page.locator("#train-table .open").first.wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=SCREENSHOTS / f"train-{name}-{theme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
