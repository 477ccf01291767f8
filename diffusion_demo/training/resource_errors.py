"""Out of memory, out of disk: what a trainer says of it, and which knob to turn."""

import errno

from safetensors import SafetensorError

from diffusion_demo.training.config import TrainConfig

RESOURCE_ERRORS = (MemoryError, OSError, RuntimeError, SafetensorError)
# What torch, oneDNN and the C++ library say for want of memory, beside CUDA's own exception.
NO_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "could not create a memory")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def resource_advice(error: Exception, config: TrainConfig) -> str | None:
    """A sentence that says what ran out and what to do; None for any other error."""
    words = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(sign in words for sign in NO_MEMORY)):
        knobs = (
            [f"--accumulation {2 * config.accumulation}"] if config.batch_size % (2 * config.accumulation) == 0 else []
        )
        knobs += [] if config.gradient_checkpointing else ["--gradient-checkpointing"]
        advice = (
            f"add {' and '.join(knobs)}, which change no result"
            if knobs
            else "choose a smaller batch, image size or preset"
        )
        return f"Out of memory with batches of {config.batch_size} at {config.image_size} pixels: {advice}."
    if getattr(error, "errno", None) in NO_ROOM or any(f"(os error {number})" in words for number in NO_ROOM):
        return "The disk is full: make room and go on from the last checkpoint, of which nothing is lost (Go on, or --resume)."
    return None
