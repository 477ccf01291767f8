"""The training loop."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from diffusion_demo import data
from diffusion_demo.diffusion.schedules import terminal_warning
from diffusion_demo.errors import BadInput
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.runtime.parallel import start_pool
from diffusion_demo.training import events
from diffusion_demo.training.config import TrainConfig
from diffusion_demo.training.distributed import Processes, make_accelerator
from diffusion_demo.training.failures import cause_of, describe
from diffusion_demo.training.meter import Meter
from diffusion_demo.training.run_folder import COMMANDS, RunFolder
from diffusion_demo.training.same_images import check_same_images, data_summary
from diffusion_demo.training.save_on_error import save_after_error, save_last_steps
from diffusion_demo.training.signals import StopRequest, catch_stop_signals
from diffusion_demo.training.tracking import Tracker, check_installed, tracking
from diffusion_demo.training.trainer import Trainer

REPORT_EVERY = 5  # steps
FIRST_PREVIEW = 20  # a step, besides every sample_every-th one
REASONS = ("stopped", "max_steps", "max_minutes", "early_stopped")  # of a normal end, in order of precedence


@dataclass(frozen=True)
class Budget:
    """Limits of one call, in total steps of the run and in minutes of the call; the first one reached ends it."""

    max_steps: int | None = None
    max_minutes: float | None = None


def train(config: TrainConfig, run: RunFolder, budget: Budget, resume: bool, command: str) -> Iterator[events.Event]:
    """Train until the budget is spent or a stop is requested (a signal, or "stop" in control.jsonl), then save.

    Appends each event to events.jsonl and yields it. After an error the last event is a Failed, which says what was
    kept; an unexpected error is then raised again. A caller that stops iterating ends the call, which saves.
    Raises BadInput, before it writes anything, when the run cannot start.
    """
    check_installed(config.log_with)
    start_pool()
    precision = resolve_precision(config.precision, best_device())
    accelerator = make_accelerator(precision, config.log_with, run.path)
    processes = Processes(accelerator)
    with ExitStack() as stack:
        with processes.together():
            if processes.is_main:
                stack.enter_context(run.lock())
            _check_start(config, run, resume, processes.count)
            scan_cache = data.ScanCache(run.scan_cache, run.scan_caches_of(config.data))
            report = data.scan(config.data, config.class_from, cache=scan_cache)
            if config.drop_duplicates:
                report = report.without_duplicates()
            warnings: tuple[str, ...] = ()
            if resume:
                _, original_summary, command = run.read_config()
                report, warnings = check_same_images(config, report, original_summary)
        trainer = Trainer(accelerator, precision, config, report, run, command)
        stack.callback(trainer.close)
        trainer.warnings += warnings
        stop, start = stack.enter_context(catch_stop_signals()), _start_event(trainer, budget)
        with processes.together():
            if processes.is_main:
                _begin(trainer, report, command, scan_cache, start)
        del scan_cache  # holds a line for each image
        tracker = stack.enter_context(tracking(accelerator, config, run))
        yield from _recorded(trainer, start, budget, stop, tracker)


def _check_start(config: TrainConfig, run: RunFolder, resume: bool, num_processes: int) -> None:
    if run.exists and not resume:
        raise BadInput(f"{run.path} already contains a run. Add --resume to continue it, or choose another folder.")
    divisor = num_processes * config.accumulation
    if config.batch_size % divisor:
        raise BadInput(
            f"The batch size {config.batch_size} is not divisible by {divisor} "
            f"(processes times gradient accumulation). Choose a multiple of {divisor}."
        )


def _begin(
    trainer: Trainer, report: data.Report, command: str, scan_cache: data.ScanCache, start: events.Start
) -> None:
    """Write what precedes the first step. Raises BadInput, and leaves no new run, when the disk is full."""
    run, is_new = trainer.run, not trainer.run.exists
    try:
        scan_cache.save()
        run.begin_call()
        if is_new:
            run.write_config(trainer.config, data_summary(report), command)
        run.append(start)
    except OSError as error:
        if is_new:
            run.config_file.unlink(missing_ok=True)  # without it, RunFolder.lock removes the rest
        raise BadInput(f"{describe(error, trainer.config)} Training did not start.") from error


def _recorded(
    trainer: Trainer, start: events.Start, budget: Budget, stop: StopRequest, tracker: Tracker
) -> Iterator[events.Event]:
    """Append the events of a call to events.jsonl and yield them, in the main process. Errors end in a Failed event."""
    is_main, run = trainer.processes.is_main, trainer.run
    try:
        for event in _run(trainer, start, budget, stop):
            if is_main:
                if event is not start:  # written by _begin
                    run.append(event)
                yield event
                if warning := tracker.record(event):
                    run.append(warning)
                    yield warning
    except GeneratorExit:
        save_last_steps(trainer)
        raise
    except BaseException as error:
        failed = save_after_error(error, trainer)
        if is_main:
            with suppress(OSError):
                run.append(failed)
            yield failed
        cause = cause_of(error, trainer.config)
        if cause is None or isinstance(error, KeyboardInterrupt):
            raise
        if not is_main:  # nobody reads its events
            raise BadInput(cause) from error


def _run(trainer: Trainer, start: events.Start, budget: Budget, stop: StopRequest) -> Iterator[events.Event]:
    """Run the steps of one call and yield its events, from Start to Finished."""
    started, max_steps = time.monotonic(), start.max_steps
    yield start
    yield from _first_warnings(trainer)
    meter = Meter(len(trainer.diffusion), trainer.config.batch_size)
    if trainer.config.init_from and not trainer.step:
        yield from trainer.preview()
    while True:
        commands, ignored = trainer.run.control() if trainer.processes.is_main else (set(), [])
        for line in ignored:
            yield events.Warned(f"Ignored a line of control.jsonl that is not a command: {line[:80]!r}.")
        requests = commands | _limits_reached(trainer, budget, max_steps, started)
        if stop.requested or "stop" in commands:
            requests.add("stopped")
        requests = trainer.processes.agree(requests, (*COMMANDS, *REASONS))
        if reason := next((reason for reason in REASONS if reason in requests), None):
            break
        measures = trainer.train_step()
        if measures is None:
            yield events.Warned(f"The loss or its gradient is not finite at step {trainer.step}. The step is skipped.")
        else:
            meter.add(measures)
        yield from _periodic_events(trainer, meter, requests)
    if meter.count:
        yield trainer.report(meter)
    if trainer.saved_step != trainer.step:
        yield from trainer.save()
    if trainer.previewed_step != trainer.step:
        yield from trainer.preview()
    yield events.Finished(trainer.step, reason)


def _last_step(config: TrainConfig, budget: Budget) -> int | None:
    """Return the step at which the budget ends the run or the learning rate reaches 0, whichever is earlier."""
    ends = (budget.max_steps, config.lr_schedule.lr_total_steps)
    return min((end for end in ends if end is not None), default=None)


def _start_event(trainer: Trainer, budget: Budget) -> events.Start:
    return events.Start(
        os.getpid(),
        trainer.step,
        _last_step(trainer.config, budget),
        budget.max_minutes,
        str(trainer.accelerator.device),
        trainer.precision,
        trainer.accelerator.num_processes,
        trainer.parameters,
        trainer.config.task,
    )


def _first_warnings(trainer: Trainer) -> Iterator[events.Warned]:
    for message in trainer.warnings:
        yield events.Warned(message)
    if warning := terminal_warning(trainer.diffusion.abar):
        yield events.Warned(f"Sampling will start from noise that the model was not trained on: {warning}.")
    if not trainer.step and trainer.metadata.origin:
        yield events.Warned(f"Initialized from {trainer.metadata.origin}.")


def _limits_reached(trainer: Trainer, budget: Budget, max_steps: int | None, started: float) -> set[str]:
    limits = set()
    if max_steps is not None and trainer.step >= max_steps:
        limits.add("max_steps")
    if budget.max_minutes is not None and time.monotonic() - started >= 60 * budget.max_minutes:
        limits.add("max_minutes")
    if trainer.early_stopping.is_due:  # in the main process, which measures the held-out loss
        limits.add("early_stopped")
    return limits


def _periodic_events(trainer: Trainer, meter: Meter, requests: set[str]) -> Iterator[events.Event]:
    """Report, save and preview after a step, where they are due or where a command requests them."""
    step, config = trainer.step, trainer.config
    if meter.count and (step % REPORT_EVERY == 0 or step == 1):
        yield trainer.report(meter)
    if step % config.save_every == 0 or "save_now" in requests:
        yield from trainer.save()
    if step % config.sample_every == 0 or step == FIRST_PREVIEW or "sample_now" in requests:
        yield from trainer.preview()
