"""Example images of the Inspect tab: samples of the bundled model, photographs, and an image of a run's own kind."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from gradio.media import get_image
from PIL import Image

from diffusion_demo.models.load_metadata import load_metadata
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.ui.preview import showcase
from diffusion_demo.ui.server import model_list

PHOTOS = ("lion.jpg", "cheetah1.jpg", "tower.jpg")  # of Gradio
OF_A_RUN = "preview_of_a_run.png"  # the name of the file that `image_like` returns


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


def image_like(checkpoint: Path) -> Path | None:
    """Return an image of the last preview of the run that made a checkpoint, as a new temporary file.

    None for other models. Training images are only their owner's to see.
    """
    samples, size = RunFolder(checkpoint.parent.parent).samples, load_metadata(checkpoint).image_size
    for sheet in sorted(samples.glob("step_*[0-9].png"), reverse=True):
        with suppress(OSError, SyntaxError, ValueError), Image.open(sheet, formats=["PNG"]) as image:
            path = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])) / OF_A_RUN
            image.crop((0, 0, size, size)).save(path)
            return path
    return None
