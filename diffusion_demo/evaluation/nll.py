"""Bits per dimension of a data set under a model: the variational bound, its three parts, and its curve over t."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffusion_demo.data import ImageTensors
from diffusion_demo.diffusion.likelihood import bound_terms, prior_bits, rate_distortion
from diffusion_demo.diffusion.timesteps import spaced_timesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.parallel import parallel_map, split_rows
from diffusion_demo.sampling.generate import SeededNoise

BATCH_SIZE = 16


@dataclass(frozen=True, eq=False)
class Bound:
    """The bound of N images on a chain of K steps: prior L_T [N]; bits, x0_mse and eps_mse [N, K] at index t, all float64.

    timesteps int64 [K] are the original t of the indices. bits[:, 0] is the decoder term L_0.
    """

    prior: Tensor
    bits: Tensor
    x0_mse: Tensor
    eps_mse: Tensor
    timesteps: Tensor

    def report(self) -> dict:
        """The total in bits/dim with its standard error over the images, its three parts, and per t the means: for JSON."""
        totals = self.prior + self.bits.sum(1)
        error = float(totals.std() / len(totals) ** 0.5) if len(totals) > 1 else None
        columns = (self.timesteps, self.bits.mean(0), self.x0_mse.mean(0), self.eps_mse.mean(0))
        return {
            "pictures": len(totals),
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


def measure_bound(
    checkpoint: Checkpoint,
    dataset: ImageTensors,
    steps: int | str | None = None,
    seed: int = 0,
    work: Path | None = None,
    progress: Callable[[int], None] = lambda dataset: None,
) -> Bound:
    """The bound of every image, on the whole chain or on a respaced one, in float32. Image i is measured with the noise of seed + i.

    labels of images are the checkpoint's class indices. Batches are kept in the folder `work`, where a call that was cut short goes on.
    Raises BadInput when `work` cannot be written or holds the measurement of something else.
    """
    chain = (
        checkpoint.diffusion
        if steps is None
        else checkpoint.diffusion.respaced(spaced_timesteps(len(checkpoint.diffusion), steps))
    )
    about = {"weights": checkpoint.weights, "seed": str(seed), "timesteps": json.dumps(chain.timesteps.tolist())}
    parts = []
    try:
        if work:
            work.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(dataset), BATCH_SIZE):
            batch = ImageTensors(dataset.images[start : start + BATCH_SIZE], dataset.labels[start : start + BATCH_SIZE])
            file = work / f"bound_{start:08d}.safetensors" if work else None
            part = _read(file, about | _digest(batch)) if file else None
            if part is None:
                part = _measure(checkpoint, chain, batch, range(seed + start, seed + start + len(batch)))
                if file:
                    _write(file, part, about | _digest(batch))
            parts.append(part)
            progress(len(batch))
    except OSError as error:
        raise BadInput(f"Cannot write to {work} ({error.strerror or error}); choose another folder.") from error
    return Bound(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]}, timesteps=chain.timesteps)


def _measure(checkpoint: Checkpoint, chain, batch: ImageTensors, seeds: range) -> dict[str, Tensor]:
    cuts = split_rows(len(batch), checkpoint.unet)
    parts = parallel_map(
        lambda cut: _walk(checkpoint, chain, ImageTensors(batch.images[cut], batch.labels[cut]), seeds[cut]), cuts
    )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def _walk(checkpoint: Checkpoint, chain, batch: ImageTensors, seeds: range) -> dict[str, Tensor]:
    device = checkpoint.unet.device
    x0, labels = to_float(batch.images).to(device), batch.labels.to(device)
    condition = {"class_labels": labels} if checkpoint.description.class_names else {}
    noise = SeededNoise(list(seeds), x0.shape[1:], device)
    terms = list(bound_terms(as_denoiser(checkpoint.unet, "fp32"), chain, x0, noise, **condition))[::-1]
    columns = {
        name: torch.stack([getattr(term, name) for term in terms], dim=1) for name in ("bits", "x0_mse", "eps_mse")
    }
    return {
        name: part.cpu().double().contiguous() for name, part in ({"prior": prior_bits(chain, x0)} | columns).items()
    }


def _digest(batch: ImageTensors) -> dict[str, str]:
    return {
        "pictures": hashlib.sha256(batch.images.numpy().tobytes()).hexdigest(),
        "labels": json.dumps(batch.labels.tolist()),
    }


def _read(file: Path, about: dict[str, str]) -> dict[str, Tensor] | None:
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as found:
            if found.metadata() == about:
                return {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118  no dictionary
    except SafetensorError:
        return None
    raise BadInput(f"{file} is of another measurement; choose another folder, or remove it.")


def _write(file: Path, part: dict[str, Tensor], about: dict[str, str]) -> None:
    partial = file.with_name(f".{file.name}.partial")
    save_file(part, partial, metadata=about)
    os.replace(partial, file)
