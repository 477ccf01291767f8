"""Time from the click on Generate to the first preview and to 16 finished images, by the clock of the browser.

Default settings, after a warm-up.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median

from benchmarks.measuring import Row
from benchmarks.page_start import served
from tests.browser.chromium import chromium_path

IMAGES = 16
# Checks in every animation frame for images and words that were not there before the click. The initial noise is not a
# preview.
WATCH = """() => {
  const loaded = (image) => image.src && image.complete && image.naturalWidth > 0;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const before = new Set(all("#stage img").map((image) => image.src));
  const status = () => document.querySelector("#stage .status").textContent, earlier = status();
  const fresh = (image) => loaded(image) && !before.has(image.src);
  window.seen = new Promise((done, failed) => document.addEventListener("click", ({ timeStamp: clicked }) => {
    let preview = null;
    const look = () => {
      const elapsed = (performance.now() - clicked) / 1000;
      const isPreview = (image) => fresh(image) && /step [1-9]/.test(image.alt);
      if (preview === null && all("#stage img").some(isPreview)) preview = elapsed;
      const finished = status() !== earlier && /IMAGES images in/.test(status());
      if (finished && preview !== null) return done({ preview, finished: elapsed });
      if (elapsed > 120) return failed(new Error("no 16 images after two minutes"));
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, { once: true, capture: true }));
}""".replace("IMAGES", str(IMAGES))


def rows(rounds: int) -> Iterator[Row]:
    if find_spec("playwright") is None:
        yield Row("from the click to the images in a browser", "not measured: playwright is not installed")
        return
    clicks = measure_clicks(2 * rounds)
    for name, words, target in (
        ("preview", "the first preview", 1),
        ("finished", f"{IMAGES} finished images", 4),
    ):
        times = sorted(click[name] for click in clicks)
        spread = f"({times[0]:.2f} to {times[-1]:.2f}, n = {len(times)})"
        yield Row(
            f"from the click to {words}",
            f"{median(times):.2f} s {spread}",
            f"target: {target} s",
            f"{median(times) / target:.2g} times the time",
        )


def measure_clicks(count: int) -> list[dict[str, float]]:
    """Return the seconds to the preview and to the end for each click, after one warm-up click."""
    from playwright.sync_api import sync_playwright

    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        start = page.get_by_role("button", name="Generate", exact=True)
        start.wait_for(timeout=120_000)
        results = []
        for _ in range(count + 1):
            page.evaluate(WATCH)
            start.click(timeout=120_000)
            results.append(page.evaluate("window.seen"))
        browser.close()
    return results[1:]
