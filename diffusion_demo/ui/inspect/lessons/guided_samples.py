"""Lesson 6, finished images: the same seeds and class at several guidance scales, and how much the images differ."""

from collections.abc import Iterator
from html import escape

from torch import Tensor

from diffusion_demo.sampling.generate import last_step, sample
from diffusion_demo.sampling.request import Request
from diffusion_demo.ui.inspect.lessons import html
from diffusion_demo.ui.inspect.lessons.guidance import image_changes
from diffusion_demo.ui.inspect.lessons.scene import Scene

IMAGES, SCALES = 8, (0.0, 1.0, 4.0)
MEANINGS = {0.0: "without a class", 1.0: "{} without guidance", 4.0: "{} with guidance"}
CONCLUSION = (
    '<p class="found">From s = 0 to 1 the images begin to match the class and differ less. Above 1, images '
    "of a model that follows its classes only weakly match them even better. With a model that follows them well, like "
    "the bundled ones, mainly the colors get stronger, which by itself makes the images differ more in gray levels.</p>"
)


def parts(scene: Scene) -> Iterator[str]:
    """Yield the HTML of each row of images, as soon as it is sampled. Without guidance there are none."""
    metadata = scene.checkpoint.description
    if not metadata.guidance:
        return
    label = int(image_changes(scene).argmax())
    name = escape(metadata.title(metadata.class_names[label]))
    intro = (
        f'<p class="found">{IMAGES} images from pure noise for the class <b>{name}</b>, with the same seeds in each '
        "row.</p>"
    )
    for scale in SCALES:
        request = Request(num_images=IMAGES, seed=scene.seed, class_index=label, guidance_scale=scale)
        images = last_step(sample(scene.checkpoint, request)).xt
        caption = (
            f"s = {scale:g}, {MEANINGS[scale].format(name)}: two images differ by "
            f'<b class="variety">{mean_distance(images):.1f}</b> of 255'
        )
        row = html.strip(images, caption)
        first, last = scale == SCALES[0], scale == SCALES[-1]
        yield html.part("Finished images: the trade-off of guidance", intro, row) if first else row + CONCLUSION * last


def mean_distance(images: Tensor) -> float:
    """Return the mean pairwise RMS distance, in gray levels, of images [N, C, S, S] in [-1, 1]."""
    return (
        127.5
        * float((images[:, None] - images[None]).square().mean((2, 3, 4)).sqrt().sum())
        / (len(images) * (len(images) - 1))
    )
