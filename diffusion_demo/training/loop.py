"""The training loop. Accelerate lives here and nowhere else."""

import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from diffusion_demo import data
from diffusion_demo.diffusion.schedules import terminal_warning
from diffusion_demo.diffusion.timesteps import LossAwareTimesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.images import save_png
from diffusion_demo.runtime.device import best_device, resolve_precision
from diffusion_demo.runtime.parallel import split_rows
from diffusion_demo.training import events
from diffusion_demo.training.batches import Batch, derive_seed, held_out_batches, make_batch
from diffusion_demo.training.config import SCHEDULE, TrainConfig
from diffusion_demo.training.cpu.memory_layout import optimize_for_cpu
from diffusion_demo.training.cpu.parallel_backward import accumulate_gradient
from diffusion_demo.training.initialize import load_or_build
from diffusion_demo.training.resource_errors import RESOURCE_ERRORS, resource_advice
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import load_state, save_state
from diffusion_demo.training.tasks import make_task

MAX_BYTES_IN_MEMORY = 1_000_000_000  # bytes of decoded images; more of them are mapped from a file in the run's folder
REPORT_EVERY = 5
FIRST_PREVIEW = 20
RECENT_REPORTS = 20
TENTHS, QUARTERS = 10, 4


@dataclass(frozen=True)
class Budget:
    """When a call ends: at a total number of steps, or after minutes; whichever comes first."""

    max_steps: int | None = None
    max_minutes: float | None = None


def train(config: TrainConfig, run: RunFolder, budget: Budget, resume: bool, command: str) -> Iterator[events.Event]:
    """Train until the budget is spent or a stop is asked for (Ctrl-C, SIGTERM, or a "stop" in control.jsonl), then save.

    Yields the events that it also appends to events.jsonl. Raises BadInput, before anything is written, when the run cannot start.
    """
    precision = resolve_precision(config.precision, best_device())
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=best_device().type == "cpu",
        kwargs_handlers=[
            AutocastKwargs(cache_enabled=False)
        ],  # every weight is used once, and the cache is one for all threads
    )
    with run.lock() if accelerator.is_main_process else nullcontext():
        if run.exists and not resume:
            raise BadInput(f"{run.path} already holds a run; add --resume to go on with it, or choose another folder.")
        if config.batch_size % (shares := accelerator.num_processes * config.accumulation):
            raise BadInput(
                f"A batch of {config.batch_size} cannot be shared evenly by {shares} parts (processes times accumulation); choose a multiple."
            )
        report = data.scan(config.data, config.class_from)
        summary = report.summary() | {"held_out_digests": sorted(e.digest for e in report.entries if e.held_out)}
        if resume:
            _, begun_with, command = run.read_config()
            if {name: summary.get(name) for name in begun_with} != begun_with:  # a later release may count more things
                raise BadInput(
                    f"The images in {config.data} are not those that the run began with; put them back, or start a new run."
                )
        trainer = _Trainer(accelerator, precision, config, report, run, command)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            if not run.exists:
                run.write_config(config, summary, command)
            run.begin_call()
        try:
            for event in trainer.go(budget):
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


class _Trainer:
    """The objects of one call: network, averages, optimizer, images."""

    def __init__(
        self,
        accelerator: Accelerator,
        precision: str,
        config: TrainConfig,
        report: data.Report,
        run: RunFolder,
        command: str,
    ):
        self.accelerator, self.precision, self.config, self.run = accelerator, precision, config, run
        torch.manual_seed(config.seed)
        latest = run.latest()
        start = load_or_build(config, latest, report, command)
        unet, self.diffusion, self.description, self.task = (
            start.unet,
            start.diffusion,
            start.description,
            make_task(start, config),
        )
        if accelerator.device.type == "cpu":
            optimize_for_cpu(unet)
        else:
            unet.to(memory_format=torch.channels_last)
        self.parameters = sum(p.numel() for p in unet.parameters())
        self.averages = {decay: EMAModel(unet.parameters(), decay=decay, foreach=True) for decay in config.ema_decays}
        self.loss_aware = LossAwareTimesteps(len(self.diffusion)) if config.timestep_sampler == "loss_aware" else None
        self.averaged = type(unet).from_config(unet.config)
        optimizer = torch.optim.AdamW(
            unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        self.step, self.initial_images = 0, self.description.images_seen
        if latest is not None:
            counters = load_state(latest / "state", unet, optimizer, self.averages, self.loss_aware)
            self.step, self.initial_images = counters["step"], counters["initial_images"]
        for average in self.averages.values():
            average.to(self.accelerator.device)
        self.averaged.to(self.accelerator.device, memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.unet, self.optimizer = self.accelerator.prepare(unet, optimizer)
        transform = data.ImageTransform(
            self.description.image_size, self.description.channels, config.fit, config.background
        )
        self.warnings = report.warnings_for(transform)
        cache = run.path / "cache" if len(report.entries) * math.prod(transform.shape) > MAX_BYTES_IN_MEMORY else None
        with accelerator.main_process_first():
            self.dataset, self.held_out = (
                data.load_transformed(report, transform, held_out=part, cache=cache) for part in (False, True)
            )
        self.latest_held_out: events.HeldOut | None = None
        self.recent_losses: deque[float] = deque(maxlen=RECENT_REPORTS)

    @property
    def images_seen(self) -> int:
        return self.initial_images + self.step * self.config.batch_size

    def go(self, budget: Budget) -> Iterator[events.Event]:
        config, started = self.config, time.monotonic()
        max_steps = self._last_step(budget)
        yield events.Start(
            os.getpid(),
            self.step,
            max_steps,
            budget.max_minutes,
            str(self.accelerator.device),
            self.precision,
            self.accelerator.num_processes,
            self.parameters,
            config.task,
        )
        for words in self.warnings:
            yield events.Warned(words)
        if warning := terminal_warning(self.diffusion.abar):
            yield events.Warned(f"Images will be sampled from the wrong noise: {warning}.")
        if not self.step and self.description.origin:
            yield events.Warned(f"Begins with {self.description.origin}.")
        meter, saved_step = _Meter(len(self.diffusion), config.batch_size), self.step
        if config.init_from and not self.step:
            yield from self._preview()
        with _stop_signals() as stop:
            reason = None
            while reason is None:
                if max_steps is not None and self.step >= max_steps:
                    reason = "max_steps"
                elif budget.max_minutes is not None and time.monotonic() - started >= 60 * budget.max_minutes:
                    reason = "max_minutes"
                commands = self.run.control() if self.accelerator.is_main_process else []
                if stop.asked or "stop" in commands:
                    reason = "stopped"
                if self._any_process(reason is not None):
                    reason = reason or "stopped"
                    break
                if not self._train_step(meter):
                    yield events.Failed(self.step, _not_finite(self.step, self.run.latest()))
                    return
                if self.step % REPORT_EVERY == 0 or self.step == 1:
                    yield self._report(meter)
                if self.step % config.sample_every == 0 or self.step == FIRST_PREVIEW or "sample_now" in commands:
                    yield from self._preview()
                if self.step % config.save_every == 0 or "save_now" in commands:
                    yield from self._save()
                    saved_step = self.step
        if meter.count:
            yield self._report(meter)
        if saved_step != self.step:
            yield from self._preview()
            yield from self._save()
        yield events.Finished(self.step, reason)

    def _report(self, meter: "_Meter") -> events.Step:
        event = meter.report(self.step, self._learning_rate(self.step), self.images_seen)
        self.recent_losses.append(event.loss)
        return event

    def _any_process(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor([float(flag)], device=self.accelerator.device), "sum").item())

    def _last_step(self, budget: Budget) -> int | None:
        """The step at which the run ends: the budget's, or that of a learning rate that reaches 0."""
        ends = (budget.max_steps, self.config.lr_schedule.lr_total_steps)
        return min((end for end in ends if end is not None), default=None)

    def _learning_rate(self, step: int) -> float:
        return self.config.learning_rate * self.config.lr_schedule.factor(step)

    def _train_step(self, meter: "_Meter") -> bool:
        """One optimizer step; False when the loss or its gradient was not finite, in which case no weight was changed."""
        config, accelerator, step = self.config, self.accelerator, self.step + 1
        batch = make_batch(config, self.dataset, self.task.null_class, len(self.diffusion), step, self.loss_aware)
        mine = Batch(*(part[accelerator.process_index :: accelerator.num_processes] for part in batch))
        seed = derive_seed(config.seed, 3, step, accelerator.process_index)
        torch.manual_seed(seed)
        self.unet.train()
        measured = []
        for i in range(config.accumulation):
            part = self._on_device(Batch(*(tensor.chunk(config.accumulation)[i] for tensor in mine)))
            cuts = split_rows(len(part.t), self.unet) if accelerator.num_processes == 1 else [slice(None)]
            with accelerator.no_sync(self.unet) if i + 1 < config.accumulation else nullcontext():
                rows = accumulate_gradient(
                    self.unet,
                    self.task.losses,
                    part,
                    cuts,
                    derive_seed(seed, i),
                    1 / config.accumulation,
                    accelerator.backward,
                )
            measured.append(rows)
        rows = torch.cat(measured)
        norm = accelerator.clip_grad_norm_(self.unet.parameters(), config.grad_clip)
        if self._any_process(not bool(torch.isfinite(rows[:, 0].sum() + norm))):
            return False
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for average in self.averages.values():
            average.step(accelerator.unwrap_model(self.unet).parameters())
        self.step = step
        rows = self._whole_batch(rows)
        meter.add(rows, batch.t, norm)
        if self.loss_aware:
            self.loss_aware.update(batch.t, rows[:, 0].cpu())
        return True

    def _on_device(self, batch: Batch) -> Batch:
        """All but t, which is looked up in tables on the CPU."""
        moved = {
            name: getattr(batch, name).to(self.accelerator.device, non_blocking=True)
            for name in ("x0", "labels", "weights", "eps")
        }
        return batch._replace(**moved)

    def _whole_batch(self, mine: Tensor) -> Tensor:
        """This process's rows of the batch -> the whole batch's, in their order: every n-th row is one of n processes' own."""
        if self.accelerator.num_processes == 1:
            return mine
        return (
            self.accelerator.gather(mine)
            .unflatten(0, (self.accelerator.num_processes, -1))
            .transpose(0, 1)
            .flatten(0, 1)
        )

    def _averaged_unet(self) -> nn.Module:
        """The averaged weights in a network of their own: the live ones are never touched."""
        self.averages[self.config.ema_decays[0]].copy_to(self.averaged.parameters())
        return self.averaged.eval()

    def _preview(self) -> Iterator[events.Event]:
        if not self.accelerator.is_main_process:
            return
        folder = self.run.path / "samples"
        paths = [folder / f"step_{self.step:06d}{kind}.png" for kind in ("", "_raw")]
        for path, network in zip(paths, (self._averaged_unet(), self._raw_unet()), strict=True):
            image = self.task.preview(network, self.precision, self.held_out if len(self.held_out) else self.dataset)
            if image is None:
                return
            folder.mkdir(exist_ok=True)
            save_png(path, image)
        yield events.Preview(self.step, *(path.relative_to(self.run.path).as_posix() for path in paths))

    def _raw_unet(self) -> nn.Module:
        """The live network, for looking alone: the next step puts it back into training."""
        return self.accelerator.unwrap_model(self.unet).eval()

    @torch.no_grad()
    def _measure_held_out(self) -> events.HeldOut:
        unet, rows, ts = self._averaged_unet(), [], []
        for batch in held_out_batches(self.held_out, len(self.diffusion), self.config.batch_size):
            with self.accelerator.autocast():
                rows.append(self.task.losses(unet, self._on_device(batch)))
            ts.append(batch.t)
        loss, error, _ = torch.cat(rows).T.cpu()
        return events.HeldOut(
            self.step,
            loss.mean().item(),
            error.mean().item(),
            _by_noise(error, torch.cat(ts), len(self.diffusion), TENTHS),
        )

    def _save(self) -> Iterator[events.Event]:
        if self.accelerator.is_main_process:
            if len(self.held_out):
                self.latest_held_out = self._measure_held_out()
                yield self.latest_held_out
            held_out_loss = self.latest_held_out.loss if self.latest_held_out else None
            description = replace(
                self.description, images_seen=self.images_seen, steps=self.step, held_out_loss=held_out_loss
            )
            training_loss = sum(self.recent_losses) / len(self.recent_losses) if self.recent_losses else None

            def write(folder: Path) -> None:
                self.task.save(folder, self._averaged_unet(), description, training_loss)
                schedule = {name: getattr(self.config, name) for name in SCHEDULE}
                counters = {"step": self.step, "initial_images": self.initial_images, "schedule": schedule}
                raw = self.accelerator.unwrap_model(self.unet)
                save_state(folder / "state", raw, self.optimizer, self.averages, self.loss_aware, counters)

            path = self.run.add_checkpoint(self.step, write)
            yield events.Saved(self.step, path.relative_to(self.run.path).as_posix())
        self.accelerator.wait_for_everyone()


def _not_finite(step: int, latest: Path | None) -> str:
    start = f"--init-from {latest}" if latest else "from the beginning"
    return f"The loss stopped being a number at step {step + 1}. Start a new run {start} with half the learning rate, or with --precision fp32."


def _by_noise(error: Tensor, t: Tensor, num_timesteps: int, parts: int) -> tuple[float | None, ...]:
    """The mean error [N] over each of so many equal parts of the chain, from the least noisy; None where no t [N] fell."""
    part = (parts * t / num_timesteps).floor()
    return tuple(error[part == i].mean().item() if bool((part == i).any()) else None for i in range(parts))


class _Meter:
    """Running means since the last report, kept as tensors so that reading them is the only synchronization."""

    def __init__(self, num_timesteps: int, batch_size: int):
        self.num_timesteps, self.batch_size, self.begun = num_timesteps, batch_size, time.monotonic()
        self._reset()

    def _reset(self) -> None:
        self.count, self.rows, self.norms, self.started = 0, [], [], time.monotonic()

    def add(self, measured: Tensor, t: Tensor, norm: Tensor) -> None:
        """A step's loss, error and bound term, [N, 3], at t int64 [N]."""
        self.count += 1
        self.rows.append(torch.cat([measured, t.to(measured).unsqueeze(1)], dim=1))
        self.norms.append(norm.detach())

    def report(self, step: int, learning_rate: float, images_seen: int) -> events.Step:
        loss, error, vlb, t = torch.cat(self.rows).T.cpu()
        event = events.Step(
            step,
            loss.mean().item(),
            error.mean().item(),
            None if vlb.isnan().any() else vlb.mean().item(),
            _by_noise(error, t, self.num_timesteps, QUARTERS),
            torch.stack(self.norms).mean().item(),
            learning_rate,
            images_seen,
            self.count * self.batch_size / (time.monotonic() - self.started),
            time.monotonic() - self.begun,
        )
        self._reset()
        return event


class _Stop:
    asked = False


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Ctrl-C and SIGTERM ask for a stop after the step at hand; a second Ctrl-C interrupts at once."""
    stop = _Stop()

    def ask(number, frame):
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = True

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
