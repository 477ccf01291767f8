"""Limits on sampling and training requests."""

import gradio as gr

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.ui.settings import settings

PUBLIC_TRAINING_LIMITS = {"image_size": 64, "batch_size": 64, "accumulation": 8}
NO_LIMIT_LOCALLY = "Run the program on your own machine to raise the limit."


def check_sampling(num_images: float, steps: float) -> None:
    """Raise BadInput if the number of images or steps exceeds the limit of this page, or is not a number (NaN)."""
    for name, value, maximum in (("images", num_images, settings().images), ("steps", steps, settings().steps)):
        if not (isinstance(value, int | float) and 1 <= value <= maximum):
            raise BadInput(f"The number of {name} must be from 1 to {maximum} on this page. {NO_LIMIT_LOCALLY}")


def check_network_calls(calls: int) -> None:
    """Raise BadInput for more calls of the network than the largest request for images makes."""
    if settings().public and calls > (maximum := settings().images * settings().steps):
        raise BadInput(f"This takes {calls} network calls, and this page allows {maximum}. {NO_LIMIT_LOCALLY}")


def check_training(config: TrainConfig) -> None:
    """Raise BadInput for a training configuration that is too expensive for a public page."""
    if not settings().public:
        return
    for name, maximum in PUBLIC_TRAINING_LIMITS.items():
        if getattr(config, name) > maximum:
            words = name.replace("_", " ")
            raise BadInput(f"The {words} must be at most {maximum} on this page. {NO_LIMIT_LOCALLY}", name)


def check_training_enabled() -> None:
    """Raise gr.Error if training is disabled."""
    if not settings().training:
        raise gr.Error(settings().why_no_training, print_exception=False)
