"""Time that a move of the t slider on the Inspect tab takes in the browser, lesson by lesson: script and layout."""

from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median

from benchmarks.measuring import Row
from benchmarks.page_start import served
from tests.browser.chromium import chromium_path

MOVES = 40
TARGET = 16  # milliseconds: a frame of a screen at 60 Hz
LESSONS = ("forward", "schedules", "reverse", "training", "likelihood", "guidance")
DRAG = """async (moves) => {
  const slider = document.querySelector("#inspector .t"), times = [];
  for (let i = 0; i < moves; i++) {
    slider.value = Math.round(slider.max * (i + 0.5) / moves);
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await null; // the charts draw in a microtask
    document.body.getBoundingClientRect();
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  return times;
}"""


def rows(rounds: int) -> Iterator[Row]:
    if find_spec("playwright") is None:
        yield Row("a move of t in Inspect", "not measured: playwright is not installed")
        return
    for lesson, (times, requests) in measure_moves(rounds).items():
        yield Row(
            f"a move of t in Inspect, lesson {lesson}, of {len(times)}; {requests} requests",
            f"{median(times):.1f} ms (at most {max(times):.1f})",
            f"a frame: {TARGET} ms",
            f"{median(times) / TARGET:.2g} times the time",
        )


def measure_moves(rounds: int) -> dict[str, tuple[list[float], int]]:
    """Return, for each lesson, the milliseconds of each move and the number of requests during them."""
    from playwright.sync_api import sync_playwright

    results = {}
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        sent = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        for lesson in LESSONS:
            page.goto(f"{address}/?tab=inspect&lesson={lesson}")
            page.locator("#lesson:not(.busy) .panel").wait_for(timeout=120_000)
            page.wait_for_timeout(1000)
            sent.clear()
            results[lesson] = [time for _ in range(rounds) for time in page.evaluate(DRAG, MOVES)], len(sent)
        browser.close()
    return results
