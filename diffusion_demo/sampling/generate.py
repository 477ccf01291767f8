"""Sampling from a request: seeded noise, classes, guidance, precision, and an upsampler as a second stage."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from diffusion_demo.diffusion.guidance import Gradient, classifier_free, classifier_gradient
from diffusion_demo.diffusion.samplers import SAMPLERS, Step
from diffusion_demo.errors import BadInput
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.runtime.device import resolve_precision
from diffusion_demo.runtime.parallel import parallel_map, split_rows
from diffusion_demo.sampling.request import ImageSpec, Request, image_specs, request_timesteps
from diffusion_demo.sampling.seeds import generator_for


def device_of(checkpoint: Checkpoint) -> torch.device:
    """Return the device of the network of a checkpoint."""
    device = checkpoint.unet.device
    assert isinstance(device, torch.device)
    return device


class SeededNoise:
    """Standard normal noise, float32 [N, *shape]; row i has its own CPU generator and does not depend on the batch.

    The same seed draws other noise in another stage, see `generator_for`.
    """

    def __init__(self, seeds: list[int], shape: tuple[int, ...], device: torch.device, stage: str = ""):
        self.generators: list[torch.Generator] = [generator_for(seed, stage) for seed in seeds]
        self.shape: tuple[int, ...] = shape
        self.device: torch.device = device

    def __call__(self) -> Tensor:
        noise = torch.stack([torch.randn(self.shape, generator=g) for g in self.generators])
        return noise.to(self.device, non_blocking=True)  # a blocking copy would wait for the GPU's queue


def make_noise(checkpoint: Checkpoint, specs: list[ImageSpec], stage: str = "") -> SeededNoise:
    """Return the noise source of these images; the first draw is x_T, float32 [N, C, S, S].

    An upsampler draws other noise than the model whose images it enlarges.
    """
    description = checkpoint.description
    stage = "upsample" if description.task == "upsampler" else stage
    shape = (description.channels, description.image_size, description.image_size)
    return SeededNoise([image.seed for image in specs], shape, device_of(checkpoint), stage)


def sample(checkpoint: Checkpoint, request: Request) -> Iterator[Step]:
    """Sample the images of a request in one batch and yield each step.

    The xt of the last step holds the images, float32 [N, C, S, S] in [-1, 1]. Raises BadInput before the first step if
    the model does not support the request.
    """
    request.check(checkpoint.description)
    return sample_batch(checkpoint, request, image_specs(request, checkpoint.description))


def sample_batch(
    checkpoint: Checkpoint, request: Request, specs: list[ImageSpec], small: Tensor | None = None
) -> Iterator[Step]:
    """Sample images in one batch; seeds and classes come from `specs`, all other settings from the request.

    small, float [N, C, s, s] in [-1, 1], are the images that an upsampler enlarges. Raises BadInput if the model is of
    the wrong kind for the request, and if the network returns NaN or infinite values.
    """
    request, parts = request.resolved(checkpoint.diffusion), split_rows(len(specs), checkpoint.unet)
    samplers = [
        _sample_part(checkpoint, request, specs[part], None if small is None else small[part]) for part in parts
    ]
    while steps := _next_steps(samplers):
        yield steps[0] if len(steps) == 1 else _merge_steps(steps)


def _next_steps(samplers: list[Iterator[Step]]) -> list[Step]:
    """Advance all parts in parallel and return their steps, or [] at the end."""
    return [step for step in parallel_map(lambda sampler: next(sampler, None), samplers) if step is not None]


def _merge_steps(steps: list[Step]) -> Step:
    """Return the same step of all parts of the batch as one step."""
    return replace(steps[0], xt=torch.cat([step.xt for step in steps]), x0=torch.cat([step.x0 for step in steps]))


@torch.no_grad()
def _sample_part(
    checkpoint: Checkpoint, request: Request, specs: list[ImageSpec], small: Tensor | None
) -> Iterator[Step]:
    description, device, noise = checkpoint.description, device_of(checkpoint), make_noise(checkpoint, specs)
    small = None if small is None else small.to(device)
    denoiser, condition = checkpoint.denoiser(resolve_precision(request.precision, device), small), {}
    if description.class_names and getattr(checkpoint.unet, "config", {}).get("num_class_embeds"):
        condition["class_labels"] = torch.tensor([image.class_index for image in specs], device=device)
        if request.guidance_scale != 1:
            null_class, interval = description.null_class, request.guidance_interval
            denoiser = classifier_free(denoiser, request.guidance_scale, null_class, description.channels, interval)
    if request.classifier_scale:
        condition["gradient"] = _classifier_gradient(checkpoint, request, specs)
    chain = checkpoint.diffusion.respaced(request_timesteps(request, checkpoint.diffusion))
    options = {} if request.sampler == "ddpm" else {"eta": request.eta}
    with non_finite_as_bad_input():
        yield from SAMPLERS[request.sampler](denoiser, chain, noise(), noise, **options, **condition)


@contextmanager
def non_finite_as_bad_input() -> Iterator[None]:
    """Convert the error of a network that returns NaN or infinite values to BadInput."""
    try:
        yield
    except FloatingPointError as error:
        raise BadInput(f"Sampling failed ({error}). Use --precision fp32 or another checkpoint.") from error


def _classifier_gradient(checkpoint: Checkpoint, request: Request, specs: list[ImageSpec]) -> Gradient:
    classifier = checkpoint.classifier
    if classifier is None:
        raise BadInput("This model has no classifier. Set the classifier scale to 0, or pass one with --classifier.")
    names, classifier_names = checkpoint.description.class_names, list(classifier.config["class_names"])
    wanted = [None if image.class_index is None else names[image.class_index] for image in specs]
    if unknown := [name for name in wanted if name not in classifier_names]:
        raise BadInput(
            f"The classifier cannot guide to {'no class' if unknown[0] is None else unknown[0]}."
            f" Choose one of its classes ({', '.join(classifier_names)}), or pass another one with --classifier."
        )
    labels = torch.tensor([classifier_names.index(name) for name in wanted], device=device_of(checkpoint))
    return classifier_gradient(classifier, labels, request.classifier_scale, request.guidance_interval)


def upsample(
    upsampler: Checkpoint, small: Tensor, request: Request, specs: list[ImageSpec], class_names: Sequence[str] = ()
) -> Iterator[Step]:
    """Enlarge images, uint8 [N, C, s, s], and yield each step.

    Uses the sampler, steps and eta of the request that produced the images, without guidance. `class_names` are those
    that the class indices of `specs` refer to. A class-conditional upsampler gets its own class of the same name, and
    the null class where it has none. Improved DDPM section 5; ADM section 5.2. Raises BadInput as check_upsampling.
    """
    check_upsampling(upsampler.description, small.shape[1], small.shape[-1], request)
    index = {name: i for i, name in enumerate(upsampler.description.class_names)}
    null_class = upsampler.description.null_class

    def own_class(theirs: int | None) -> int | None:
        if theirs is None or theirs >= len(class_names):
            return null_class
        return index.get(class_names[theirs], null_class)

    own_specs = [ImageSpec(seed, own_class(theirs)) for seed, theirs in specs]
    return sample_batch(upsampler, _upsampling_request(request), own_specs, to_float(small))


def check_upsampling(upsampler: CheckpointMetadata, channels: int, size: int, request: Request) -> None:
    """Raise BadInput unless the upsampler enlarges images of this size in the steps of the request.

    To be called before the images are sampled. `upsampler` is the metadata of the model.
    """
    if upsampler.task != "upsampler":
        raise BadInput("This model is not an upsampler, so it cannot enlarge images. Choose an upsampler.")
    if channels != upsampler.channels or size >= upsampler.image_size or upsampler.small_size not in (None, size):
        expected_size = f"of {upsampler.small_size} pixels, " if upsampler.small_size else ""
        raise BadInput(
            f"The upsampler takes images {expected_size}{upsampler.channels} channels."
            f" These have {size} pixels and {channels} channels."
        )
    try:
        _upsampling_request(request).check(upsampler)
    except BadInput as error:
        raise BadInput(
            f"The upsampler cannot enlarge these images: {str(error)[:1].lower()}{str(error)[1:]}"
        ) from error


def _upsampling_request(request: Request) -> Request:
    """Return the request without guidance and without a class, whose index is that of another model."""
    return replace(request, guidance_scale=1.0, classifier_scale=0.0, guidance_interval=None, class_index=None)


def last_step(steps: Iterator[Step]) -> Step:
    """Run the sampler to its end and return the last step, whose xt holds the finished images."""
    return deque(steps, maxlen=1).pop()
