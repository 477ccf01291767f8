"""Example images of the Inspect tab: samples of the bundled model, which are of its own kind, and three photographs."""

from pathlib import Path

from gradio.media import get_image

from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.server import model_list

PHOTOS = ("lion.jpg", "cheetah1.jpg", "tower.jpg")  # of Gradio


def examples() -> dict[str, Path]:
    """Return the example images by their names in links. The first is shown first, the second is blended with it."""
    folders = model_list.model_folders().values()
    samples = [path for folder in folders for path, _ in showcase.read(folder).files]
    paths = [Path(path) for path in (*samples[:3], *(get_image(name) for name in PHOTOS))]
    return {path.stem: path for path in paths}


def default_images() -> tuple[Path, Path]:
    """Return the image that is shown first and the one that is blended with it."""
    first, second, *_ = examples().values()
    return first, second
