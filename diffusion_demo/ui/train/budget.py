"""For how long a training lasts, and what this machine does in that time."""

import math
import threading
from functools import lru_cache

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.ui.settings import settings

NEW = {"a new tiny network": "tiny", "a new small network": "small", "a new medium network, for a GPU": "medium"}
LENGTHS = {"A first look, 3 minutes": 3, "A quarter of an hour": 15, "An hour": 60, "An evening, 4 hours": 240}


def offered() -> dict[str, int]:
    """For how many minutes a training may last here, by the words for it."""
    allowed = {words: minutes for words, minutes in LENGTHS.items() if minutes <= settings().minutes}
    return allowed or {f"{settings().minutes} minutes": settings().minutes}


def minutes_of(length: str | None) -> int:
    """Raises BadInput for a length that is not offered."""
    if length not in offered():
        raise BadInput("Choose for how long to train.")
    return offered()[length]


_one_at_a_time = threading.Lock()


def pace(start: str, size: int, channels: int, batch_size: int) -> float:
    """Images a second that this machine trains on, timed once for each choice, and never two at a time."""
    with _one_at_a_time:
        return _timed(start, size, channels, batch_size)


@lru_cache(maxsize=64)
def _timed(start: str, size: int, channels: int, batch_size: int) -> float:
    from diffusion_demo.diffusion.process import Diffusion
    from diffusion_demo.diffusion.schedules import named_betas
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.unet import build_unet
    from diffusion_demo.training.initialize import adapt_to_data
    from diffusion_demo.training.throughput import images_per_second

    if start in NEW:
        chain = Diffusion(named_betas("squaredcos_cap_v2", 1000), variance_type="learned_range")
        return images_per_second(
            build_unet(NEW[start], size, channels, learns_variance=True, num_classes=0), chain, batch_size
        )
    source = load_checkpoint(start)
    config = TrainConfig("", image_size=size, channels=channels)
    return images_per_second(
        adapt_to_data(source, config, source.description.class_names).unet, source.diffusion, batch_size
    )


def rounded(count: float) -> int:
    """To two digits: no more are known."""
    digits = max(0, math.floor(math.log10(max(count, 1))) - 1)
    return round(count / 10**digits) * 10**digits


def steps_between_previews(pace: float, batch_size: int, minutes: int) -> int:
    """As many steps as pass in a twelfth of the time, and no fewer than half a minute's."""
    return max(20, math.ceil(max(30, 60 * minutes / 12) * pace / batch_size))
