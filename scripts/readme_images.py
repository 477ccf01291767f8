"""Make the README's images from the page: `python -m scripts.readme_images`, with Chromium installed.

Writes docs/images: sample.png and inspect.png, screenshots of the two tabs, and denoising.webp, the stage of the Sample
tab from noise to images; and the image of link previews, a screenshot of its size. They show the bundled model only, so
nothing is sampled or trained.
"""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

from benchmarks.page_start import served
from diffusion_demo.ui.server.page_head import IMAGE_FILE, IMAGE_SIZE
from tests.browser.chromium import chromium_path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
VIEWPORT = ViewportSize(width=1280, height=800)
STEP_MS, LAST_MS = 250, 2500  # duration of a step of the animation, and of its last one
MAX_BYTES = 1_500_000  # of all images together


def main() -> None:
    """Make the images. Exits with a message if they are too large."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=VIEWPORT, color_scheme="light", reduced_motion="reduce")
        page.goto(f"{address}/?__theme=light")
        page.get_by_role("button", name="Generate", exact=True).wait_for(timeout=180_000)
        page.locator("#stage .cell").first.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)  # fonts and images
        _save(_screenshot(page), IMAGES / "sample.png")
        page.set_viewport_size({"width": IMAGE_SIZE[0], "height": IMAGE_SIZE[1]})
        page.wait_for_timeout(1000)
        _save(_screenshot(page), IMAGE_FILE)
        page.set_viewport_size(VIEWPORT)
        _save_animation(_film(page), "denoising.webp")
        page.get_by_role("tab", name="Inspect").click()
        page.locator("#inspector .t-value").wait_for(timeout=60_000)
        page.wait_for_timeout(4000)  # strips and curves
        _save(_screenshot(page), IMAGES / "inspect.png")
        browser.close()
    if (size := sum(path.stat().st_size for path in IMAGES.iterdir())) > MAX_BYTES:
        raise SystemExit(f"The images have {size:,} bytes, more than {MAX_BYTES:,}. Make the viewport smaller.")


def _film(page: Page) -> list[Image.Image]:
    """Return the stage of the Sample tab at every step of the denoising, noise first."""
    scrub, stage, frames = page.locator("#stage .scrub"), page.locator("#stage .sheet"), []
    for step in range(int(scrub.get_attribute("max") or 0) + 1):
        scrub.fill(str(step))
        page.wait_for_timeout(100)
        frames.append(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"))
    return frames


def _screenshot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot()))


def _save(image: Image.Image, path: Path) -> None:
    # 256 colors are enough for a page of flat colors and make the file a third as large.
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _save_animation(frames: list[Image.Image], name: str) -> None:
    durations = [STEP_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(
        IMAGES / name, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=50, method=6
    )


if __name__ == "__main__":
    main()
