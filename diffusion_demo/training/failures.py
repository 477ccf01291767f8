"""Reasons why a training call ends early, each as one sentence."""

import gc
import traceback

import torch

from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.resource_errors import resource_advice

# Messages of gloo and NCCL when a process at the other end has exited.
LOST_PROCESS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "process group")


class NotFinite(Exception):
    """Weights, losses or gradients are infinite or not a number. The message says what to do."""


class OtherProcessFailed(BadInput):
    """Another process of this run failed and has said why."""


def cause_of(error: BaseException, config: TrainConfig) -> str | None:
    """Return what went wrong and what to do about it; None for an unexpected error."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted by a second Ctrl-C."
    if isinstance(error, NotFinite | OtherProcessFailed):
        return str(error)
    if isinstance(error, Exception) and (advice := resource_advice(error, config)):
        return advice
    if isinstance(error, RuntimeError) and any(words in str(error) for words in LOST_PROCESS):
        return "Another process of this run has exited. Resume the run with all processes."
    return None


def describe(error: BaseException, config: TrainConfig) -> str:
    """Return the cause of an error on one line; for an unexpected error, its type and message."""
    line = " ".join(str(error).split())[:300].rstrip(".")
    return cause_of(error, config) or f"Unexpected error ({type(error).__name__}{line and f': {line}'})."


def free_memory(error: BaseException) -> None:
    """Free the tensors that the traceback of an error keeps, such as the activations of a step."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
