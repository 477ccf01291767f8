"""From the click on Generate to the first preview and to 16 finished images, as a browser's own clock sees them: default settings, warmed up."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median

from benchmarks.measuring import Row
from benchmarks.page_start import served

IMAGES = 16
# At every frame that the browser draws it looks whether there is an image that was not there before the click. The noise at the start is no preview.
WATCH = """() => {
  const loaded = (image) => image.src && image.complete && image.naturalWidth > 0;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const before = new Set(all("#stage img, #gallery img").map((image) => image.src));
  const fresh = (image) => loaded(image) && !before.has(image.src);
  window.seen = new Promise((done, failed) => document.addEventListener("click", ({ timeStamp: clicked }) => {
    let preview = null;
    const look = () => {
      const elapsed = (performance.now() - clicked) / 1000;
      if (preview === null && all("#stage img").some((image) => fresh(image) && /step [1-9]/.test(image.alt))) preview = elapsed;
      if (all("#gallery img").filter(fresh).length >= IMAGES && preview !== null) return done({ preview, finished: elapsed });
      if (elapsed > 120) return failed(new Error("no 16 images after two minutes"));
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, { once: true, capture: true }));
}""".replace("IMAGES", str(IMAGES))


def rows(rounds: int) -> Iterator[Row]:
    if find_spec("playwright") is None:
        yield Row("from the click to images in a browser", "not measured: playwright is not installed")
        return
    clicks = clicked(2 * rounds)
    for name, words, aim in (
        ("preview", "the first preview is seen", 1),
        ("finished", f"{IMAGES} finished images are seen", 4),
    ):
        found = sorted(click[name] for click in clicks)
        spread = f"({found[0]:.2f} to {found[-1]:.2f}, n = {len(found)})"
        yield Row(
            f"from the click until {words}",
            f"{median(found):.2f} s {spread}",
            f"aim: {aim} s",
            f"{median(found) / aim:.2g} times the time",
        )


def clicked(times: int) -> list[dict[str, float]]:
    """The seconds to preview and finish after each of so many clicks; one more before them is not counted."""
    from playwright.sync_api import sync_playwright

    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        start = page.get_by_role("button", name="Generate", exact=True)
        start.wait_for(timeout=120_000)
        found = []
        for _ in range(times + 1):
            page.evaluate(WATCH)
            start.click(timeout=120_000)
            found.append(page.evaluate("window.seen"))
        browser.close()
    return found[1:]
