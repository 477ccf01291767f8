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
NEW_NETWORK_TITLES = dict(
    zip(NEW_NETWORKS, ("New network, tiny", "New network, small", "New network, medium (for a GPU)"), strict=True)
)
DURATIONS = {"Quick try, 3 min": 3, "15 min": 15, "1 hour": 60, "4 hours": 240}
LONG_MINUTES = 60  # runs of at least this length stop early by default
PATIENCE = 4  # in evaluations; a long run has twelve
# Images that training has to see before its previews show something. With 20,000, faces of a new small network become
# readable (docs/training.md, "The recipe of new networks"); an existing model takes on new images within 3,000.
IMAGES_NEEDED = {"new": 20_000, "fine-tuned": 3_000}


def available_durations() -> dict[str, int]:
    """Return the durations allowed on this page, in minutes by label."""
    allowed = {label: minutes for label, minutes in DURATIONS.items() if minutes <= settings().minutes}
    return allowed or {f"{settings().minutes} min": settings().minutes}


def parse_duration(label: str | None) -> int:
    """Return the minutes of a duration label. Raises BadInput for a label that is not available."""
    minutes = available_durations().get(label) if label is not None else None
    if minutes is None:
        raise BadInput("No training time selected. Choose one.")
    return minutes


_measurement_lock = threading.Lock()


def measure_speed(start_from: str, image_size: int, channels: int, batch_size: int) -> float:
    """Return the training speed of this machine in images per second.

    Each configuration is measured once, and one measurement runs at a time. A batch size counts as the next power of
    two, so that a visitor who tries many of them does not keep the others waiting.

    Args:
        start_from: A key of NEW_NETWORKS, or a checkpoint to initialize from.
        image_size: Side length in pixels.
        channels: 1 for grayscale or 3 for color.
        batch_size: Images per optimizer step.
    """
    with _measurement_lock:
        return _measure_speed(start_from, image_size, channels, 1 << (batch_size - 1).bit_length())


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


def times_seen(images: float, num_training: int) -> str:
    """Return in words how often each of the training images is seen: "each image about 4 times"."""
    times = images / max(1, num_training)
    if times < 0.95:
        return f"{max(1, round(100 * times))} % of the images once"
    if times < 1.5:
        return "each image about once"
    return f"each image about {round_to_two_digits(times):,} times"


def duration_choices(images_per_second: float, num_training: int, images_needed: int) -> list[tuple[str, str]]:
    """Return (label with the number of epochs, label) of the available durations.

    The shortest one that trains on `images_needed` images is recommended; if none does, the longest.
    """
    available = available_durations()
    enough = [label for label, minutes in available.items() if images_per_second * 60 * minutes >= images_needed]
    recommended = next(iter(enough), list(available)[-1])
    return [
        (
            f"{label} (sees {times_seen(images_per_second * 60 * minutes, num_training)})"
            + (", recommended" if label == recommended else ""),
            label,
        )
        for label, minutes in available.items()
    ]


def round_to_two_digits(count: float) -> int:
    """Round to two significant digits, the precision of the speed measurement."""
    digits = max(0, math.floor(math.log10(max(count, 1))) - 1)
    return round(count / 10**digits) * 10**digits


def steps_between_previews(images_per_second: float, batch_size: int, minutes: int) -> int:
    """Return the optimizer steps between previews: a twelfth of the duration, at least 30 seconds and 20 steps."""
    seconds = max(30, 60 * minutes / 12)
    return max(20, math.ceil(seconds * images_per_second / batch_size))
