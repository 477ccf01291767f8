"""End of a training call by an error: save what can be saved, and report what was lost."""

from diffusion_demo.training.events import Failed
from diffusion_demo.training.failures import describe, free_memory
from diffusion_demo.training.trainer import Trainer


def save_after_error(error: BaseException, trainer: Trainer) -> Failed:
    """Save the steps since the last checkpoint, where that is possible, and return the event that ends the call."""
    cause = describe(error, trainer.config)
    free_memory(error)
    if not isinstance(error, KeyboardInterrupt):  # a second Ctrl-C must not wait
        save_last_steps(trainer)
    return Failed(trainer.step, f"{cause} {_what_is_kept(trainer)}")


def save_last_steps(trainer: Trainer) -> None:
    """Save the steps since the last checkpoint unless saving itself has failed or a step was broken off.

    It does not wait for other processes, because one of them may have exited.
    """
    if not trainer.processes.is_main or trainer.saved_step == trainer.step:
        return
    if trainer.in_update or trainer.save_failed:
        return
    try:
        trainer.write_checkpoint()
    except Exception as error:  # the first error is the one to report, and `_what_is_kept` says that this failed, too
        free_memory(error)


def _what_is_kept(trainer: Trainer) -> str:
    step, saved = trainer.step, trainer.saved_step
    if not step:
        return "No step was completed."
    if saved == step:
        done = "The first step is" if step == 1 else f"All {step:,} steps are"
        return f"{done} saved; --resume continues from there."
    if not saved:
        lost = "The first step is" if step == 1 else f"The {step:,} steps are"
        return f"{lost} lost, because no checkpoint was written yet."
    return f"The steps after {saved:,} are lost; --resume continues from there."
