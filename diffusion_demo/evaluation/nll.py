"""Negative log-likelihood: the variational bound in bits per dimension, its three parts and its curve over t."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffusion_demo import data
from diffusion_demo.atomic import atomic_path, created_folder
from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits, rate_distortion
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.class_matching import class_indices
from diffusion_demo.evaluation.reference import Reference
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.metadata import with_current_keys
from diffusion_demo.runtime.parallel import parallel_map, split_rows
from diffusion_demo.sampling.generate import SeededNoise, device_of
from diffusion_demo.sampling.request import check_steps
from diffusion_demo.untrusted_files import check_regular

BATCH_SIZE = 16

Progress = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class Bound:
    """The variational bound of N images on a chain of K steps, float64 in bits per dimension.

    prior: L_T [N]; bits, x0_mse, eps_mse: [N, K] by chain index, where bits[:, 0] is the decoder term L_0; timesteps:
    the original t of each chain index, int64 [K].
    """

    prior: Tensor
    bits: Tensor
    x0_mse: Tensor
    eps_mse: Tensor
    timesteps: Tensor

    def report(self) -> dict[str, Any]:
        """Return the total with its standard error over the images, its three parts and the means per t, for JSON."""
        totals = self.prior + self.bits.sum(1)
        error = float(totals.std() / len(totals) ** 0.5) if len(totals) > 1 else None
        columns = (self.timesteps, self.bits.mean(0), self.x0_mse.mean(0), self.eps_mse.mean(0))
        return {
            "images": len(totals),
            "steps": len(self.timesteps),
            "bits_per_dim": float(totals.mean()),
            "standard_error": error,
            "L_0": float(self.bits[:, 0].mean()),
            "L_1 to L_T-1": float(self.bits[:, 1:].sum(1).mean()),
            "L_T": float(self.prior.mean()),
            "curve": [
                dict(zip(("t", "bits", "x0_mse", "eps_mse"), row, strict=True))
                for row in zip(*(c.tolist() for c in columns), strict=True)
            ],
            "rate_distortion": [
                {"t": int(self.timesteps[t]), "rate": rate, "distortion": distortion}
                for t, rate, distortion in rate_distortion(self.prior, self.bits, self.x0_mse)
            ],
        }


def report_held_out_bound(
    checkpoint: Checkpoint,
    reference: Reference,
    steps: int | str | None,
    seed: int,
    work: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Return the report of the bound on the held-out images, or on all images if none are held out.

    reference: a scanned data set. The other parameters are those of measure_bound. Raises BadInput if `steps` does not
    fit the chain.
    """
    description, report = checkpoint.description, reference.source
    assert isinstance(report, data.Report), "a batch has no class names"
    if steps is not None:
        check_steps(steps, description)
    held_out = any(entry.held_out for entry in report.entries)
    transform = reference.preparation.transform(description.image_size, description.channels)
    images = data.load_transformed(report, transform, held_out)
    labels = class_indices(report.class_names, description)[images.labels]
    bound = measure_bound(checkpoint, ImageTensors(images.images, labels), steps, seed, work, progress)
    return {"held_out": held_out} | bound.report()


def measure_bound(
    checkpoint: Checkpoint,
    dataset: ImageTensors,
    steps: int | str | None = None,
    seed: int = 0,
    work: Path | None = None,
    progress: Progress = lambda images: None,
) -> Bound:
    """Return the bound of every image, computed in float32 on the full chain or on a respaced one.

    The labels of the dataset are class indices of the checkpoint. Image i uses the noise of seed + i. With `work`,
    each batch is stored in this folder, and an interrupted call resumes from it. Raises BadInput if `work` cannot be
    written or holds another measurement.
    """
    chain = checkpoint.diffusion
    if steps is not None:
        chain = chain.respaced(spaced_timesteps(len(chain), steps))
    metadata = {"weights": checkpoint.weights, "seed": str(seed), "timesteps": json.dumps(chain.timesteps.tolist())}
    parts = []
    try:
        with created_folder(work) if work else nullcontext():
            for start in range(0, len(dataset), BATCH_SIZE):
                rows = slice(start, start + BATCH_SIZE)
                batch = ImageTensors(dataset.images[rows], dataset.labels[rows])
                file = work / f"bound_{start:08d}.safetensors" if work else None
                seeds = range(seed + start, seed + start + len(batch))
                parts.append(_measure_or_read(checkpoint, chain, batch, seeds, file, metadata | _digest(batch)))
                progress(len(batch))
    except OSError as error:
        raise BadInput(f"Cannot write to {work} ({error.strerror or error}). Choose another folder.") from error
    return Bound(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]}, timesteps=chain.timesteps)


def _measure_or_read(
    checkpoint: Checkpoint,
    chain: Diffusion,
    batch: ImageTensors,
    seeds: range,
    file: Path | None,
    metadata: dict[str, str],
) -> dict[str, Tensor]:
    """Return the terms of a batch: those that `file` holds, or else new ones, which are then stored in it."""
    part = _read_part(file, metadata) if file else None
    if part is None:
        part = _measure_batch(checkpoint, chain, batch, seeds)
        if file:
            _write_part(file, part, metadata)
    return part


def _measure_batch(checkpoint: Checkpoint, chain: Diffusion, batch: ImageTensors, seeds: range) -> dict[str, Tensor]:
    parts = parallel_map(
        lambda rows: _measure_rows(
            checkpoint, chain, ImageTensors(batch.images[rows], batch.labels[rows]), seeds[rows]
        ),
        split_rows(len(batch), checkpoint.unet),
    )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def _measure_rows(checkpoint: Checkpoint, chain: Diffusion, batch: ImageTensors, seeds: range) -> dict[str, Tensor]:
    device = device_of(checkpoint)
    x0, labels = to_float(batch.images).to(device), batch.labels.to(device)
    condition: dict[str, Any] = {"class_labels": labels} if checkpoint.description.class_names else {}
    noise = SeededNoise(list(seeds), x0.shape[1:], device)
    terms = list(bound_terms(checkpoint.denoiser("fp32"), chain, x0, noise, **condition))[::-1]
    columns = {
        name: torch.stack([getattr(term, name) for term in terms], dim=1) for name in ("bits", "x0_mse", "eps_mse")
    }
    return {
        name: part.cpu().double().contiguous() for name, part in ({"prior": prior_bits(chain, x0)} | columns).items()
    }


def _digest(batch: ImageTensors) -> dict[str, str]:
    return {
        "images": hashlib.sha256(batch.images.numpy().tobytes()).hexdigest(),
        "labels": json.dumps(batch.labels.tolist()),
    }


def _read_part(file: Path, metadata: dict[str, str]) -> dict[str, Tensor] | None:
    if not os.path.exists(file):
        return None
    try:
        check_regular(file)
        with safe_open(file, "pt") as stored:
            if with_current_keys(stored.metadata() or {}) == metadata:
                return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not iterable itself
    except SafetensorError:
        return None
    raise BadInput(f"{file} belongs to another measurement. Choose another folder, or remove the file.")


def _write_part(file: Path, part: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic_path(file) as temporary:
        save_file(part, temporary, metadata=metadata)
