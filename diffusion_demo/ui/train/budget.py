"""Training durations offered by the page, and the measured training speed of this machine."""

import math
import threading
from functools import lru_cache

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.ui.settings import settings

NEW_NETWORKS = {
    "a new tiny network": "tiny",
    "a new small network": "small",
    "a new medium network, for a GPU": "medium",
}
DURATIONS = {"Quick try, 3 min": 3, "15 min": 15, "1 hour": 60, "4 hours": 240}


def available_durations() -> dict[str, int]:
    """Return the durations allowed on this page, in minutes by label."""
    allowed = {label: minutes for label, minutes in DURATIONS.items() if minutes <= settings().minutes}
    return allowed or {f"{settings().minutes} minutes": settings().minutes}


def parse_duration(label: str | None) -> int:
    """Return the minutes of a duration label. Raises BadInput for a label that is not available."""
    minutes = available_durations().get(label) if label is not None else None
    if minutes is None:
        raise BadInput("No training duration selected. Choose one.")
    return minutes


_measurement_lock = threading.Lock()


def measure_speed(start_from: str, image_size: int, channels: int, batch_size: int) -> float:
    """Return the training speed of this machine in images per second.

    Each configuration is measured once, and one measurement runs at a time.

    Args:
        start_from: A key of NEW_NETWORKS, or a checkpoint to initialize from.
        image_size: Side length in pixels.
        channels: 1 for grayscale or 3 for color.
        batch_size: Images per optimizer step.
    """
    with _measurement_lock:
        return _measure_speed(start_from, image_size, channels, batch_size)


@lru_cache(maxsize=64)
def _measure_speed(start_from: str, image_size: int, channels: int, batch_size: int) -> float:
    from diffusion_demo.diffusion.process import Diffusion
    from diffusion_demo.diffusion.schedules import named_betas
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.unet import build_unet
    from diffusion_demo.training.initialize import adapt_to_data
    from diffusion_demo.training.throughput import images_per_second

    if start_from in NEW_NETWORKS:
        diffusion = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
        unet = build_unet(NEW_NETWORKS[start_from], image_size, channels, learns_variance=True, num_classes=0)
        return images_per_second(unet, diffusion, batch_size)
    source = load_checkpoint(start_from)
    config = TrainConfig(data="", image_size=image_size, channels=channels)
    adapted = adapt_to_data(source, config, source.description.class_names)
    return images_per_second(adapted.unet, source.diffusion, batch_size)


def round_to_two_digits(count: float) -> int:
    """Round to two significant digits, the precision of the speed measurement."""
    digits = max(0, math.floor(math.log10(max(count, 1))) - 1)
    return round(count / 10**digits) * 10**digits


def steps_between_previews(images_per_second: float, batch_size: int, minutes: int) -> int:
    """Return the optimizer steps between previews: a twelfth of the duration, at least 30 seconds and 20 steps."""
    seconds = max(30, 60 * minutes / 12)
    return max(20, math.ceil(seconds * images_per_second / batch_size))
