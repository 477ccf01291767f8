"""One training run in memory: network, weight averages, optimizer and data."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor, nn

from diffusion_demo import data
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.timesteps import LossAwareTimesteps
from diffusion_demo.images import contact_sheet, save_png, split_contact_sheet
from diffusion_demo.models.classifier import Classifier
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.training import events
from diffusion_demo.training.batches import Batch, derive_seed, held_out_batches, make_batch
from diffusion_demo.training.config import SCHEDULE, TrainConfig
from diffusion_demo.training.copies import CopyCheck
from diffusion_demo.training.cpu.optimize import optimize_for_cpu
from diffusion_demo.training.cpu.parallel_backward import accumulate_gradient, training_slices
from diffusion_demo.training.distributed import Processes
from diffusion_demo.training.early_stopping import EarlyStopping
from diffusion_demo.training.failures import NotFinite, describe, free_memory
from diffusion_demo.training.initialize import load_or_build
from diffusion_demo.training.meter import Meter, StepMeasures, mean_error_by_noise
from diffusion_demo.training.prefetch import Prefetcher
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import load_state, save_state
from diffusion_demo.training.tasks import PREVIEW, Classifying, Denoising, make_task

MIN_CACHED_BYTES = 50_000_000  # fewer bytes of images are decoded in seconds, so they are not kept in the run folder
RECENT_REPORTS = 20  # reports averaged into the training loss of the model card
TENTHS = 10  # noise bands of a held-out event
MAX_SKIPPED, SKIP_WINDOW = 10, 1000  # training ends when this many of the last SKIP_WINDOW steps are not finite


class Trainer:
    """Network, weight averages, optimizer and data of one call of the training loop.

    Raises BadInput when the model or the images cannot be loaded.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        precision: str,
        config: TrainConfig,
        report: data.Report,
        run: RunFolder,
        command: str,
    ):
        self.accelerator: Accelerator = accelerator
        self.precision: str = precision
        self.config: TrainConfig = config
        self.run: RunFolder = run
        self.processes: Processes = Processes(accelerator)
        torch.manual_seed(config.seed)
        latest = run.latest()
        start = load_or_build(config, latest, report, command)
        assert isinstance(start.unet, UNet2DModel | Classifier)
        self.diffusion: Diffusion = start.diffusion
        self.metadata: CheckpointMetadata = start.description
        self.task: Denoising | Classifying = make_task(start, config)
        self._prepare_network(start.unet, latest)
        self._load_images(report)
        self._prefetcher = Prefetcher(self._make_batch) if self._may_prefetch() else None
        self.saved_step: int = self.step
        self.previewed_step: int = self.step
        self.in_update: bool = False  # while a step changes the weights, they and the counters do not belong together
        self.save_failed: bool = False
        self._copy_check: CopyCheck | None = None
        self._skipped: deque[int] = deque(maxlen=MAX_SKIPPED)
        self.latest_held_out: events.HeldOut | None = None
        self.recent_losses: deque[float] = deque(maxlen=RECENT_REPORTS)

    def _prepare_network(self, unet: UNet2DModel | Classifier, latest: Path | None) -> None:
        """Build the averages and the optimizer, load the state of the checkpoint `latest`, and move all to device."""
        config, device = self.config, self.accelerator.device
        if device.type == "cpu":
            optimize_for_cpu(unet)
        else:
            unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (diffusers' decorator hides self)
        self.parameters: int = sum(p.numel() for p in unet.parameters())
        self.averages: dict[float, EMAModel] = {
            decay: make_average(unet, decay, config.ema_warmup) for decay in config.ema_decays
        }
        self.loss_aware: LossAwareTimesteps | None = (
            LossAwareTimesteps(len(self.diffusion)) if config.timestep_sampler == "loss_aware" else None
        )
        averaged_unet = type(unet).from_config(unet.config)
        assert isinstance(averaged_unet, nn.Module)
        optimizer = torch.optim.AdamW(
            unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        self.step: int = 0
        self.early_stopping: EarlyStopping = EarlyStopping(config.early_stopping_patience, config.save_every)
        self.initial_images: int = self.metadata.images_seen
        if latest is not None:
            counters = load_state(latest / "state", unet, optimizer, self.averages, self.loss_aware)
            self.step, self.initial_images = counters["step"], counters["initial_images"]
            if "early_stopping" in counters:
                self.early_stopping.load(counters["early_stopping"])
        for average in self.averages.values():
            average.to(device)
        self._averaged = averaged_unet.to(device, memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self._weights = list(unet.parameters())  # walking through the modules took a tenth of a step on a GPU
        prepared = self.accelerator.prepare(unet, optimizer)
        self.unet: nn.Module = prepared[0]
        self.optimizer: torch.optim.Optimizer = prepared[1]

    def _load_images(self, report: data.Report) -> None:
        transform = data.ImageTransform.of(self.metadata)
        said = (report.rejected_by_reason, *report.warnings_for(transform))
        self.warnings: tuple[str, ...] = tuple(filter(None, said))
        if self.config.early_stopping_patience and not any(entry.held_out for entry in report.entries):
            self.warnings += ("Early stopping is off, because no images are held out to measure the loss on.",)
        num_bytes = len(report.entries) * math.prod(transform.shape)
        cache = self.run.cache if num_bytes > MIN_CACHED_BYTES else None
        others = [sibling.cache for sibling in self.run.siblings()] if cache else []
        with self.accelerator.main_process_first():
            load = partial(data.load_transformed, report, transform, cache=cache, other_caches=others)
            self.dataset: data.ImageTensors = load(held_out=False)
            self.held_out: data.ImageTensors = load(held_out=True)

    @property
    def images_seen(self) -> int:
        """Training images seen so far, those of the initial checkpoint included."""
        return self.initial_images + self.step * self.config.batch_size

    def _may_prefetch(self) -> bool:
        # Loss-aware timesteps depend on the losses of the step before, so they cannot be drawn ahead.
        return self.accelerator.device.type == "cuda" and not self.loss_aware

    def close(self) -> None:
        """End the threads of this trainer."""
        if self._prefetcher:
            self._prefetcher.close()

    def train_step(self) -> StepMeasures | None:
        """Take one optimizer step and return its measures.

        Return None for a step that was skipped, with the weights unchanged, because its loss or gradient is not finite.
        Raises NotFinite when that happens too often.
        """
        config, accelerator, step = self.config, self.accelerator, self.step + 1
        batch = self._prefetcher.get(step) if self._prefetcher else self._make_batch(step)
        rows = self.processes.gather_rows(self._backward(batch, step))
        grad_norm = accelerator.clip_grad_norm_(self._weights, config.grad_clip)
        assert grad_norm is not None
        if self.processes.any(not bool(torch.isfinite(rows[:, 0].sum() + grad_norm))):
            self._skip(step)
            return None
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.in_update = True
        self.optimizer.step()
        for average in self.averages.values():
            average.step(self._weights)
        if self.loss_aware:
            self.loss_aware.update(batch.t, rows[:, 0].cpu())
        self.step, self.in_update = step, False
        self.optimizer.zero_grad()
        return StepMeasures(rows, batch.t, grad_norm)

    def _skip(self, step: int) -> None:
        self.optimizer.zero_grad()
        self.step = step
        self._skipped.append(step)
        if len(self._skipped) == MAX_SKIPPED and step - self._skipped[0] < SKIP_WINDOW:
            raise NotFinite(
                f"The loss or its gradient was not finite in {MAX_SKIPPED} of the last {SKIP_WINDOW:,} steps. "
                f"{self._how_to_go_on()}"
            )

    def _how_to_go_on(self) -> str:
        latest = self.run.latest()
        start = f" from a checkpoint (--init-from {latest})" if latest else ""
        return f"Start a new run{start} with half the learning rate, or with --precision fp32."

    def _make_batch(self, step: int) -> Batch:
        null_class, num_timesteps = self.task.null_class, len(self.diffusion)
        return make_batch(self.config, self.dataset, null_class, num_timesteps, step, self.loss_aware)

    def _backward(self, batch: Batch, step: int) -> Tensor:
        """Accumulate the gradient of this process's share of the global batch; return its losses, float32 [N, 3]."""
        config, accelerator = self.config, self.accelerator
        local_batch = Batch(*(tensor[self.processes.index :: self.processes.count] for tensor in batch))
        seed = derive_seed(config.seed, 3, step, self.processes.index)
        torch.manual_seed(seed)
        self.unet.train()
        rows = []
        for i in range(config.accumulation):
            micro_batch = self._to_device(Batch(*(tensor.chunk(config.accumulation)[i] for tensor in local_batch)))
            slices = training_slices(len(micro_batch.t), self.unet) if self.processes.count == 1 else [slice(None)]
            is_last = i + 1 == config.accumulation
            with nullcontext() if is_last else accelerator.no_sync(self.unet):
                rows.append(
                    accumulate_gradient(
                        self.unet,
                        self.task.losses,
                        micro_batch,
                        slices,
                        derive_seed(seed, i),
                        1 / config.accumulation,
                        accelerator.backward,
                    )
                )
        return torch.cat(rows)

    def _learning_rate(self, step: int) -> float:
        return self.config.learning_rate * self.config.lr_schedule.factor(step)

    def _to_device(self, batch: Batch) -> Batch:
        """Move everything but t, which indexes tables on the CPU."""
        moved = {
            name: getattr(batch, name).to(self.accelerator.device, non_blocking=True)
            for name in ("x0", "labels", "weights", "eps")
        }
        return batch._replace(**moved)

    def report(self, meter: Meter) -> events.Step:
        """Return the means of `meter` as an event, and reset it."""
        event = meter.report(self.step, self._learning_rate(self.step), self.images_seen)
        self.recent_losses.append(event.loss)
        return event

    def _averaged_unet(self) -> nn.Module:
        """Return a separate network with the averaged weights, in eval mode; the network in training is not touched."""
        self.averages[self.config.ema_decays[0]].copy_to(self._averaged.parameters())
        return self._averaged.eval()

    def _raw_unet(self) -> nn.Module:
        """Return the network in training, in eval mode until the next `train_step`."""
        return self._unwrapped_unet().eval()

    def _unwrapped_unet(self) -> nn.Module:
        """Return the network in training without the wrappers of DistributedDataParallel and torch.compile."""
        return self.accelerator.unwrap_model(self.unet, keep_torch_compile=False)

    def preview(self) -> Iterator[events.Preview | events.Warned]:
        """Save preview images of the averaged and the raw weights and yield an event; a classifier has no previews.

        A preview that fails yields a warning, because training does not depend on it.
        """
        self.previewed_step = self.step
        if not self.processes.is_main:
            return
        try:
            event = self._make_preview()
        except Exception as error:
            event = events.Warned(f"There is no preview of step {self.step}. {describe(error, self.config)}")
            free_memory(error)
        if event:
            yield event

    def _make_preview(self) -> events.Preview | None:
        paths = [self.run.samples / f"step_{self.step:06d}{suffix}.png" for suffix in ("", "_raw")]
        for path, network in zip(paths, (self._averaged_unet(), self._raw_unet()), strict=True):
            image = self.task.preview(network, self.precision, self.held_out if len(self.held_out) else self.dataset)
            if image is None:
                return None
            path.parent.mkdir(exist_ok=True)
            save_png(path, image)
        preview, raw = (path.relative_to(self.run.path).as_posix() for path in paths)
        return events.Preview(self.step, preview, raw, *self._compare_with_training(paths[0]))

    def _compare_with_training(self, preview: Path) -> tuple[str | None, float | None]:
        """Write the nearest training images of a preview, and return their path in the run and the share of copies."""
        if self.config.task != "diffusion":
            return None, None
        with Image.open(preview) as sheet:
            samples = split_contact_sheet(sheet, self.metadata.image_size, PREVIEW.num_images)
        if self._copy_check is None:
            self._copy_check = CopyCheck(self.dataset.images, self.held_out.images, self.config.flip)
        nearest = self._copy_check.nearest(samples)
        path = preview.with_name(f"{preview.stem}_nearest.png")
        save_png(path, contact_sheet(nearest.images))
        return path.relative_to(self.run.path).as_posix(), self._copy_check.share_of_copies(nearest.distance)

    @torch.no_grad()
    def _measure_held_out(self) -> events.HeldOut:
        unet, rows, timesteps = self._averaged_unet(), [], []
        for batch in held_out_batches(self.held_out, len(self.diffusion), self.config.batch_size):
            with self.accelerator.autocast():
                rows.append(self.task.losses(unet, self._to_device(batch)))
            timesteps.append(batch.t)
        loss, error, _ = torch.cat(rows).T.cpu()
        return events.HeldOut(
            self.step,
            loss.mean().item(),
            error.mean().item(),
            mean_error_by_noise(error, torch.cat(timesteps), len(self.diffusion), TENTHS),
        )

    def save(self) -> Iterator[events.HeldOut | events.Saved | events.Warned]:
        """Measure the held-out loss where images are held out, write a checkpoint, and yield an event of each.

        Raises in every process what the main one raised.
        """
        happened: list[events.HeldOut | events.Saved | events.Warned] = []
        with self.processes.together():
            if self.processes.is_main:
                if len(self.held_out):
                    happened.append(self._try_to_measure_held_out())
                path = self.write_checkpoint()
                happened.append(events.Saved(self.step, path.relative_to(self.run.path).as_posix()))
        self.saved_step = self.step
        yield from happened

    def _try_to_measure_held_out(self) -> events.HeldOut | events.Warned:
        try:
            self.latest_held_out = self._measure_held_out()
            self.early_stopping.add(self.step, self.latest_held_out.loss)
            return self.latest_held_out
        except Exception as error:  # the checkpoint matters more
            warning = f"There is no held-out loss of step {self.step}. {describe(error, self.config)}"
            free_memory(error)
            return events.Warned(warning)

    def write_checkpoint(self) -> Path:
        """Write a checkpoint and return its folder. Involves no other process.

        Raises NotFinite, and writes nothing, if the weights are not finite.
        """
        if not torch.stack([weight.detach().isfinite().all() for weight in self._weights]).all():
            raise NotFinite(f"The weights are no longer finite and were not saved. {self._how_to_go_on()}")
        self.save_failed = True
        path = self.run.add_checkpoint(self.step, self._write_checkpoint)
        self.saved_step, self.save_failed = self.step, False
        return path

    def _write_checkpoint(self, folder: Path) -> None:
        metadata = self._checkpoint_metadata()
        training_loss = sum(self.recent_losses) / len(self.recent_losses) if self.recent_losses else None
        self.task.save(folder, self._averaged_unet(), metadata, training_loss)
        schedule = {name: getattr(self.config, name) for name in SCHEDULE}
        counters = {"step": self.step, "initial_images": self.initial_images, "schedule": schedule}
        counters["early_stopping"] = self.early_stopping.state()
        save_state(folder / "state", self._unwrapped_unet(), self.optimizer, self.averages, self.loss_aware, counters)

    def _checkpoint_metadata(self) -> CheckpointMetadata:
        measured = self.latest_held_out
        return replace(
            self.metadata,
            images_seen=self.images_seen,
            steps=self.step,
            held_out_loss=measured.loss if measured and measured.step == self.step else None,
        )


def make_average(network: nn.Module, decay: float, warmup: bool) -> EMAModel:
    """Return an exponential moving average of the weights of a network.

    With `warmup`, the decay of step n, counted from 1, is min(decay, n / (n + 9)), and 0 for n = 1. Without, it is
    `decay` from the first step on, as in the code of the papers.
    """
    # diffusers takes the first step's weights as they are, whatever the decay, unless update_after_step is -1.
    constant = {} if warmup else {"min_decay": decay, "update_after_step": -1}
    return EMAModel(network.parameters(), decay=decay, foreach=True, **constant)
