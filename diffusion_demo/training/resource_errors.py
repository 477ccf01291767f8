"""Messages for running out of memory or disk space during training."""

import errno

from diffusion_demo.training.config import TrainConfig

# Messages of torch, oneDNN and the C++ library; CUDA's own exception says "out of memory", too.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "could not create a memory")
OUT_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def resource_advice(error: Exception, config: TrainConfig) -> str | None:
    """Return a message that says which resource ran out and what to do; None for any other error."""
    if _is_out_of_memory(error):
        batches = f"batches of {config.batch_size} at {config.image_size} pixels"
        return f"Out of memory with {batches}: {_ways_to_save_memory(config)}."
    if _is_out_of_disk(error):
        return "The disk is full. Free some space, then try again."
    return None


def _is_out_of_memory(error: Exception) -> bool:
    message = str(error)
    is_reported = isinstance(error, RuntimeError) and any(sign in message for sign in OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or is_reported


def _is_out_of_disk(error: Exception) -> bool:
    message = str(error)  # safetensors gives the number only in its message
    return getattr(error, "errno", None) in OUT_OF_DISK or any(f"(os error {code})" in message for code in OUT_OF_DISK)


def _ways_to_save_memory(config: TrainConfig) -> str:
    flags, fields = [], []
    if config.batch_size % (2 * config.accumulation) == 0:
        flags.append(f"--accumulation {2 * config.accumulation}")
        fields.append("Gradient accumulation")
    if not config.gradient_checkpointing:
        flags.append("--gradient-checkpointing")
        fields.append("Gradient checkpointing")
    if flags:
        return f"use {' and '.join(flags)} (on the page: {' and '.join(fields)})"
    return "choose a smaller batch, image size or preset"
