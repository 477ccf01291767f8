"""One training run in memory: network, weight averages, optimizer and data."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from diffusion_demo import data
from diffusion_demo.diffusion.timesteps import LossAwareTimesteps
from diffusion_demo.images import save_png
from diffusion_demo.models.classifier import Classifier
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.runtime.parallel import split_rows
from diffusion_demo.training import events
from diffusion_demo.training.batches import Batch, derive_seed, held_out_batches, make_batch
from diffusion_demo.training.config import SCHEDULE, TrainConfig
from diffusion_demo.training.cpu.memory_layout import optimize_for_cpu
from diffusion_demo.training.cpu.parallel_backward import accumulate_gradient
from diffusion_demo.training.initialize import load_or_build
from diffusion_demo.training.meter import Meter, StepMeasures, mean_error_by_noise
from diffusion_demo.training.prefetch import Prefetcher
from diffusion_demo.training.run_folder import RunFolder
from diffusion_demo.training.state import load_state, save_state
from diffusion_demo.training.tasks import make_task

MAX_BYTES_IN_MEMORY = 1_000_000_000  # decoded images above this size are memory-mapped from the cache of the run folder
RECENT_REPORTS = 20  # reports averaged into the training loss of the model card
TENTHS = 10  # noise bands of a held-out event


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
        self.accelerator, self.precision, self.config, self.run = accelerator, precision, config, run
        torch.manual_seed(config.seed)
        latest = run.latest()
        start = load_or_build(config, latest, report, command)
        assert isinstance(start.unet, UNet2DModel | Classifier)
        self.diffusion, self.metadata, self.task = start.diffusion, start.description, make_task(start, config)
        self._prepare_network(start.unet, latest)
        self._load_images(report)
        # Loss-aware timesteps depend on the losses of the step before, so they cannot be drawn ahead.
        prefetch = accelerator.device.type == "cuda" and not self.loss_aware
        self._prefetcher = Prefetcher(self._make_batch) if prefetch else None
        self.saved_step = self.step
        self.latest_held_out: events.HeldOut | None = None
        self.recent_losses: deque[float] = deque(maxlen=RECENT_REPORTS)

    def _prepare_network(self, unet: UNet2DModel | Classifier, latest: Path | None) -> None:
        """Build the averages and the optimizer, load the state of the checkpoint `latest`, and move all to device."""
        config, device = self.config, self.accelerator.device
        if device.type == "cpu":
            optimize_for_cpu(unet)
        else:
            unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (diffusers' decorator hides self)
        self.parameters = sum(p.numel() for p in unet.parameters())
        self.averages = {decay: EMAModel(unet.parameters(), decay=decay, foreach=True) for decay in config.ema_decays}
        self.loss_aware = LossAwareTimesteps(len(self.diffusion)) if config.timestep_sampler == "loss_aware" else None
        averaged_unet = type(unet).from_config(unet.config)
        assert isinstance(averaged_unet, nn.Module)
        optimizer = torch.optim.AdamW(
            unet.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )
        self.step, self.initial_images = 0, self.metadata.images_seen
        if latest is not None:
            counters = load_state(latest / "state", unet, optimizer, self.averages, self.loss_aware)
            self.step, self.initial_images = counters["step"], counters["initial_images"]
        for average in self.averages.values():
            average.to(device)
        self._averaged = averaged_unet.to(device, memory_format=torch.channels_last)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self._weights = list(unet.parameters())  # walking through the modules took a tenth of a step on a GPU
        self.unet, self.optimizer = self.accelerator.prepare(unet, optimizer)

    def _load_images(self, report: data.Report) -> None:
        transform = data.ImageTransform(
            self.metadata.image_size, self.metadata.channels, self.config.fit, self.config.background
        )
        self.warnings = report.warnings_for(transform)
        num_bytes = len(report.entries) * math.prod(transform.shape)
        cache = self.run.path / "cache" if num_bytes > MAX_BYTES_IN_MEMORY else None
        with self.accelerator.main_process_first():
            self.dataset, self.held_out = (
                data.load_transformed(report, transform, held_out=held_out, cache=cache) for held_out in (False, True)
            )

    @property
    def images_seen(self) -> int:
        """Training images seen so far, those of the initial checkpoint included."""
        return self.initial_images + self.step * self.config.batch_size

    def train_step(self) -> StepMeasures | None:
        """Take one optimizer step and return its measures.

        Return None, with the weights unchanged, when the loss or its gradient is not finite.
        """
        config, accelerator, step = self.config, self.accelerator, self.step + 1
        batch = self._prefetcher.get(step) if self._prefetcher else self._make_batch(step)
        rows = self._backward(batch, step)
        grad_norm = accelerator.clip_grad_norm_(self._weights, config.grad_clip)
        assert grad_norm is not None
        if self.any_process(not bool(torch.isfinite(rows[:, 0].sum() + grad_norm))):
            return None
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for average in self.averages.values():
            average.step(self._weights)
        self.step = step
        rows = self._gather_rows(rows)
        if self.loss_aware:
            self.loss_aware.update(batch.t, rows[:, 0].cpu())
        return StepMeasures(rows, batch.t, grad_norm)

    def _make_batch(self, step: int) -> Batch:
        null_class, num_timesteps = self.task.null_class, len(self.diffusion)
        return make_batch(self.config, self.dataset, null_class, num_timesteps, step, self.loss_aware)

    def _backward(self, batch: Batch, step: int) -> Tensor:
        """Accumulate the gradient of this process's share of the global batch; return its losses, float32 [N, 3]."""
        config, accelerator = self.config, self.accelerator
        local_batch = Batch(*(tensor[accelerator.process_index :: accelerator.num_processes] for tensor in batch))
        seed = derive_seed(config.seed, 3, step, accelerator.process_index)
        torch.manual_seed(seed)
        self.unet.train()
        rows = []
        for i in range(config.accumulation):
            micro_batch = self._to_device(Batch(*(tensor.chunk(config.accumulation)[i] for tensor in local_batch)))
            slices = split_rows(len(micro_batch.t), self.unet) if accelerator.num_processes == 1 else [slice(None)]
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

    def any_process(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        if self.accelerator.num_processes == 1:
            return flag
        total = self.accelerator.reduce(torch.tensor([float(flag)], device=self.accelerator.device), "sum")
        assert isinstance(total, Tensor)
        return bool(total.item())

    def _gather_rows(self, local_rows: Tensor) -> Tensor:
        """Return the rows of the global batch in their order; process k of n holds the rows k, k + n, k + 2n, ..."""
        if self.accelerator.num_processes == 1:
            return local_rows
        gathered = self.accelerator.gather(local_rows)
        assert isinstance(gathered, Tensor)
        return gathered.unflatten(0, (self.accelerator.num_processes, -1)).transpose(0, 1).flatten(0, 1)

    def report(self, meter: Meter) -> events.Step:
        """Return the means of `meter` as an event, and start it over."""
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

    def preview(self) -> Iterator[events.Preview]:
        """Save preview images of the averaged and the raw weights and yield an event; a classifier has no previews."""
        if not self.accelerator.is_main_process:
            return
        folder = self.run.path / "samples"
        paths = [folder / f"step_{self.step:06d}{suffix}.png" for suffix in ("", "_raw")]
        for path, network in zip(paths, (self._averaged_unet(), self._raw_unet()), strict=True):
            image = self.task.preview(network, self.precision, self.held_out if len(self.held_out) else self.dataset)
            if image is None:
                return
            folder.mkdir(exist_ok=True)
            save_png(path, image)
        yield events.Preview(self.step, *(path.relative_to(self.run.path).as_posix() for path in paths))

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

    def save(self) -> Iterator[events.HeldOut | events.Saved]:
        """Measure the held-out loss where images are held out, write a checkpoint, and yield an event of each."""
        if self.accelerator.is_main_process:
            if len(self.held_out):
                self.latest_held_out = self._measure_held_out()
                yield self.latest_held_out
            path = self.run.add_checkpoint(self.step, self._write_checkpoint)
            yield events.Saved(self.step, path.relative_to(self.run.path).as_posix())
        self.accelerator.wait_for_everyone()
        self.saved_step = self.step

    def _write_checkpoint(self, folder: Path) -> None:
        metadata = self._checkpoint_metadata()
        training_loss = sum(self.recent_losses) / len(self.recent_losses) if self.recent_losses else None
        self.task.save(folder, self._averaged_unet(), metadata, training_loss)
        schedule = {name: getattr(self.config, name) for name in SCHEDULE}
        counters = {"step": self.step, "initial_images": self.initial_images, "schedule": schedule}
        save_state(folder / "state", self._unwrapped_unet(), self.optimizer, self.averages, self.loss_aware, counters)

    def _checkpoint_metadata(self) -> CheckpointMetadata:
        return replace(
            self.metadata,
            images_seen=self.images_seen,
            steps=self.step,
            held_out_loss=self.latest_held_out.loss if self.latest_held_out else None,
        )
