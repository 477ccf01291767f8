"""The training loop."""

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import AutocastKwargs

from diffusion_demo import data
from diffusion_demo.diffusion.schedules import terminal_warning
from diffusion_demo.errors import BadInput
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.meter import Meter
from diffusion_demo.training.resource_errors import RESOURCE_ERRORS, resource_advice
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.signals import catch_stop_signals
from diffusion_demo.training.trainer import Trainer

REPORT_EVERY = 5  # steps
FIRST_PREVIEW = 20  # a step, besides every sample_every-th one


@dataclass(frozen=True)
class Budget:
    """Limits of one call, in total steps of the run and in minutes of the call; the first one reached ends it."""

    max_steps: int | None = None
    max_minutes: float | None = None


def train(config: TrainConfig, run: RunFolder, budget: Budget, resume: bool, command: str) -> Iterator[events.Event]:
    """Train until the budget is spent or a stop is requested (Ctrl-C, SIGTERM or "stop" in control.jsonl), then save.

    Appends each event to events.jsonl and yields it. When memory or disk space runs out, the last event is a Failed.
    Raises BadInput, before it writes anything, when the run cannot start.
    """
    precision = resolve_precision(config.precision, best_device())
    accelerator = _make_accelerator(precision)
    with run.lock() if accelerator.is_main_process else nullcontext():
        _check_start(config, run, resume, accelerator.num_processes)
        report = data.scan(config.data, config.class_from)
        summary = report.summary() | {"held_out_digests": sorted(e.digest for e in report.entries if e.held_out)}
        if resume:
            _, original_summary, command = run.read_config()
            _check_same_images(config, summary, original_summary)
        trainer = Trainer(accelerator, precision, config, report, run, command)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            if not run.exists:
                run.write_config(config, summary, command)
            run.begin_call()
        try:
            for event in _run(trainer, budget):
                if accelerator.is_main_process:
                    run.append(event)
                    yield event
        except RESOURCE_ERRORS as error:
            advice = resource_advice(error, config)
            if advice is None or not accelerator.is_main_process:
                raise
            failed = events.Failed(trainer.step, advice)
            with suppress(OSError):
                run.append(failed)
            yield failed


def _make_accelerator(precision: str) -> Accelerator:
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=best_device().type == "cpu",
        # Each weight is used once per forward pass, and the autocast cache is shared by all threads.
        kwargs_handlers=[AutocastKwargs(cache_enabled=False)],
    )


def _check_start(config: TrainConfig, run: RunFolder, resume: bool, num_processes: int) -> None:
    if run.exists and not resume:
        raise BadInput(f"{run.path} already contains a run. Add --resume to continue it, or choose another folder.")
    divisor = num_processes * config.accumulation
    if config.batch_size % divisor:
        raise BadInput(
            f"The batch size {config.batch_size} is not divisible by {divisor} "
            f"(processes times gradient accumulation). Choose a multiple of {divisor}."
        )


def _check_same_images(config: TrainConfig, summary: dict, original_summary: dict) -> None:
    # A later release may have added entries to the summary, so only those of the original one are compared.
    if {name: summary.get(name) for name in original_summary} != original_summary:
        raise BadInput(
            f"The images in {config.data} differ from those that the run started with. "
            "Restore them, or start a new run."
        )


def _run(trainer: Trainer, budget: Budget) -> Iterator[events.Event]:
    """Run the steps of one call and yield its events, from Start to Finished or Failed."""
    started, max_steps = time.monotonic(), _last_step(trainer.config, budget)
    yield from _start_events(trainer, budget, max_steps)
    meter = Meter(len(trainer.diffusion), trainer.config.batch_size)
    if trainer.config.init_from and not trainer.step:
        yield from trainer.preview()
    with catch_stop_signals() as stop:
        while True:
            reason = _limit_reached(trainer, budget, max_steps, started)
            commands = trainer.run.control() if trainer.accelerator.is_main_process else []
            if stop.requested or "stop" in commands:
                reason = "stopped"
            if trainer.any_process(reason is not None):
                break
            measures = trainer.train_step()
            if measures is None:
                yield events.Failed(trainer.step, _not_finite_message(trainer.step, trainer.run.latest()))
                return
            meter.add(measures)
            yield from _periodic_events(trainer, meter, commands)
    if meter.count:
        yield trainer.report(meter)
    if trainer.saved_step != trainer.step:
        yield from trainer.preview()
        yield from trainer.save()
    yield events.Finished(trainer.step, reason or "stopped")


def _last_step(config: TrainConfig, budget: Budget) -> int | None:
    """Return the step at which the budget ends the run or the learning rate reaches 0, whichever is earlier."""
    ends = (budget.max_steps, config.lr_schedule.lr_total_steps)
    return min((end for end in ends if end is not None), default=None)


def _start_events(trainer: Trainer, budget: Budget, max_steps: int | None) -> Iterator[events.Event]:
    yield events.Start(
        os.getpid(),
        trainer.step,
        max_steps,
        budget.max_minutes,
        str(trainer.accelerator.device),
        trainer.precision,
        trainer.accelerator.num_processes,
        trainer.parameters,
        trainer.config.task,
    )
    for message in trainer.warnings:
        yield events.Warned(message)
    if warning := terminal_warning(trainer.diffusion.abar):
        yield events.Warned(f"Sampling will start from noise that the model was not trained on: {warning}.")
    if not trainer.step and trainer.metadata.origin:
        yield events.Warned(f"Initialized from {trainer.metadata.origin}.")


def _limit_reached(trainer: Trainer, budget: Budget, max_steps: int | None, started: float) -> str | None:
    if max_steps is not None and trainer.step >= max_steps:
        return "max_steps"
    if budget.max_minutes is not None and time.monotonic() - started >= 60 * budget.max_minutes:
        return "max_minutes"
    return None


def _periodic_events(trainer: Trainer, meter: Meter, commands: list[str]) -> Iterator[events.Event]:
    """Report, preview and save after a step, where they are due or where a command requests them."""
    step, config = trainer.step, trainer.config
    if step % REPORT_EVERY == 0 or step == 1:
        yield trainer.report(meter)
    if step % config.sample_every == 0 or step == FIRST_PREVIEW or "sample_now" in commands:
        yield from trainer.preview()
    if step % config.save_every == 0 or "save_now" in commands:
        yield from trainer.save()


def _not_finite_message(step: int, latest: Path | None) -> str:
    start = f"--init-from {latest}" if latest else "from the beginning"
    return (
        f"The loss or its gradient is not finite at step {step + 1}. "
        f"Start a new run {start} with half the learning rate, or with --precision fp32."
    )
