"""Agreement between the processes of a run.

A collective blocks until every process has called it. In a branch that only some processes take, it would block the
run forever. Therefore all processes must call the methods of this module at the same points of the program.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, ProjectConfiguration
from torch import Tensor

from diffusion_demo.runtime.device import best_device
from diffusion_demo.training.failures import OtherProcessFailed


def make_accelerator(precision: str, log_with: str | None = None, logging_dir: Path | None = None) -> Accelerator:
    """Return the accelerator for a precision, "bf16" or "fp32", on the best device of this machine.

    log_with     experiment tracker, if there is one
    logging_dir  folder for the files of TensorBoard
    """
    return Accelerator(
        log_with=log_with,
        project_config=ProjectConfiguration(logging_dir=str(logging_dir)) if logging_dir else None,
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=best_device().type == "cpu",
        # Each weight is used once per forward pass, and the autocast cache is shared by all threads.
        kwargs_handlers=[AutocastKwargs(cache_enabled=False)],
    )


class Processes:
    """The processes of one run, of which the main one writes the run folder."""

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self.count: int = accelerator.num_processes
        self.index: int = accelerator.process_index
        self.is_main: bool = accelerator.is_main_process

    def agree(self, requests: Collection[str], vocabulary: Sequence[str]) -> set[str]:
        """Return the requests of all processes together; each is a word of `vocabulary`, the same in all processes."""
        if self.count == 1:
            return set(requests)
        flags = torch.tensor([float(word in requests) for word in vocabulary], device=self._accelerator.device)
        total = self._accelerator.reduce(flags, "sum")
        assert isinstance(total, Tensor)
        return {word for word, processes in zip(vocabulary, total.tolist(), strict=True) if processes}

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        return bool(self.agree({"yes"} if flag else (), ("yes",)))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run the block in every process. If it raises in one, it raises in all, at the end of the block.

        Raises OtherProcessFailed in the processes without an exception of their own.
        """
        error = None
        try:
            yield
        except Exception as raised:
            error = raised
        if self.any(error is not None):
            raise error or OtherProcessFailed("Another process of this run failed; its message is above.")

    def gather_rows(self, local_rows: Tensor) -> Tensor:
        """Return the rows of the global batch in their order; process k of n holds the rows k, k + n, k + 2n, ..."""
        if self.count == 1:
            return local_rows
        gathered = self._accelerator.gather(local_rows)
        assert isinstance(gathered, Tensor)
        return gathered.unflatten(0, (self.count, -1)).transpose(0, 1).flatten(0, 1)
