"""Early stopping on the held-out loss."""

from typing import Any


class EarlyStopping:
    """Counts the evaluations since the best held-out loss.

    Only evaluations after each `save_every` steps count. Those of "Save now" and of an interrupted call are extra, and
    a run that is continued must end at the step of one that never stopped.

    Args:
        patience: Evaluations without improvement after which training stops; 0 for never.
        save_every: Steps between evaluations.
    """

    def __init__(self, patience: int, save_every: int):
        self.patience, self.save_every = patience, save_every
        self.best: float | None = None
        self.best_step: int = 0
        self.worse: int = 0  # evaluations since the best one

    def add(self, step: int, loss: float) -> None:
        """Count the held-out loss of a step."""
        if not self.patience or step % self.save_every:
            return
        if self.best is None or loss < self.best:
            self.best, self.best_step, self.worse = loss, step, 0
        else:
            self.worse += 1

    @property
    def is_due(self) -> bool:
        """Whether training should stop."""
        return bool(self.patience) and self.worse >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the counters, for a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "worse": self.worse}

    def load(self, state: dict[str, Any]) -> None:
        """Restore the counters of a checkpoint. After an early stop, the patience starts again in full."""
        self.best, self.best_step, self.worse = state["best"], state["best_step"], state["worse"]
        if self.is_due:
            self.worse = 0
