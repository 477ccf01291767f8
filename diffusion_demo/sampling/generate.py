"""A request -> steps: the noise of each image's seed, classes, guidance, precision, and a second stage that enlarges."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from diffusion_demo.diffusion.guidance import Gradient, Interval, classifier_free, classifier_gradient
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS, Step
from diffusion_demo.errors import BadInput
from diffusion_demo.images import to_float
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.unet import as_denoiser
from diffusion_demo.runtime.device import resolve_precision
from diffusion_demo.runtime.parallel import parallel_map, split_rows
from diffusion_demo.sampling.request import ImageSpec, Request, image_specs, request_timesteps

MIN_SIGNAL = 1e-3  # of abar_t, for a classifier's guidance of ddim
UPSAMPLER_SEED_OFFSET = 2**49  # between an image's seed and that of the noise in which it is enlarged


class SeededNoise:
    """Standard normal noise [N, *shape] where row i comes from its own CPU generator, so that it never depends on the batch."""

    def __init__(self, seeds: list[int], shape: tuple[int, ...], device: torch.device):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape, self.device = shape, device

    def __call__(self) -> Tensor:
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)


def make_noise(checkpoint: Checkpoint, specs: list[ImageSpec]) -> SeededNoise:
    """The noise of some images; the first draw is x_T. An upsampler's is another than that of the model whose images it enlarges."""
    d = checkpoint.description
    apart = UPSAMPLER_SEED_OFFSET if d.task == "upsampler" else 0
    return SeededNoise(
        [image.seed + apart for image in specs], (d.channels, d.image_size, d.image_size), checkpoint.unet.device
    )


def sample(checkpoint: Checkpoint, request: Request) -> Iterator[Step]:
    """Sample the request's images in one batch, step by step; the last step's xt are the images, float32 in [-1, 1].

    Raises BadInput before the first step when the request cannot be met.
    """
    request.check(checkpoint.description)
    return sample_batch(checkpoint, request, image_specs(request, checkpoint.description))


def sample_batch(
    checkpoint: Checkpoint, request: Request, specs: list[ImageSpec], small: Tensor | None = None
) -> Iterator[Step]:
    """Sample these images in one batch, with everything but seeds and classes as the request says.

    small, float [N, C, s, s] in [-1, 1], are the images that an upsampler enlarges. Raises BadInput for a model that is of another kind than the
    request needs, and when the network's answers are not finite.
    """
    parts = split_rows(len(specs), checkpoint.unet)
    walks = [_walk(checkpoint, request, specs[part], None if small is None else small[part]) for part in parts]
    while (steps := parallel_map(lambda walk: next(walk, None), walks))[0]:
        yield steps[0] if len(steps) == 1 else _joined(steps)


def _joined(steps: list[Step]) -> Step:
    """The same step of all parts as one step of the batch."""
    return replace(steps[0], xt=torch.cat([step.xt for step in steps]), x0=torch.cat([step.x0 for step in steps]))


@torch.no_grad()
def _walk(checkpoint: Checkpoint, request: Request, specs: list[ImageSpec], small: Tensor | None) -> Iterator[Step]:
    description, device, noise = checkpoint.description, checkpoint.unet.device, make_noise(checkpoint, specs)
    if description.task == "classifier":
        raise BadInput("This is a classifier, which makes no images; it can guide a model that does (--classifier).")
    denoiser, condition = as_denoiser(checkpoint.unet, resolve_precision(request.precision, device), small), {}
    if description.class_names and getattr(checkpoint.unet, "config", {}).get("num_class_embeds"):
        condition["class_labels"] = torch.tensor([image.class_index for image in specs], device=device)
        if request.guidance_scale != 1:
            null_class, interval = description.null_class, request.guidance_interval
            denoiser = classifier_free(denoiser, request.guidance_scale, null_class, description.channels, interval)
    if request.classifier_scale:
        condition["gradient"] = _gradient(checkpoint, request, specs)
    chain = checkpoint.diffusion.respaced(request_timesteps(request, checkpoint.diffusion))
    options = {} if request.sampler == "ddpm" else {"eta": request.eta}
    try:
        yield from SAMPLERS[request.sampler](denoiser, chain, noise(), noise, **options, **condition)
    except FloatingPointError as error:
        raise BadInput(f"The model gives no numbers ({error}); use --precision fp32 or another checkpoint.") from error


def _gradient(checkpoint: Checkpoint, request: Request, specs: list[ImageSpec]) -> Gradient:
    classifier = checkpoint.classifier
    if classifier is None:
        raise BadInput(
            "This model has no classifier beside it; set the classifier's scale to 0, or name one (--classifier)."
        )
    names, known = checkpoint.description.class_names, list(classifier.config.class_names)
    labels = torch.tensor([known.index(names[image.class_index]) for image in specs], device=checkpoint.unet.device)
    return classifier_gradient(classifier, labels, request.classifier_scale, _steady(request, checkpoint.diffusion))


def _steady(request: Request, diffusion: Diffusion) -> Interval | None:
    """Where a classifier guides: as the request says but, in ddim, never where almost nothing of the image is left.

    ddim does not clip the x_0 that it shifts (ADM Algorithm 2), and the shift is multiplied by 1/sqrt(abar): 20,000 at the end of a cosine schedule.
    """
    if request.sampler != "ddim":
        return request.guidance_interval
    low, high = request.guidance_interval or (0, len(diffusion) - 1)
    return low, min(high, int((diffusion.abar >= MIN_SIGNAL).sum()) - 1)


def upsample(upsampler: Checkpoint, small: Tensor, request: Request, specs: list[ImageSpec]) -> Iterator[Step]:
    """Enlarge images, uint8 [N, C, s, s], step by step, with the sampler, steps and eta of the request that made them, unguided.

    Improved DDPM section 5; ADM section 5.2. Raises BadInput where the upsampler knows other images.
    """
    about = upsampler.description
    if (
        small.shape[1] != about.channels
        or small.shape[-1] >= about.image_size
        or about.small_size not in (None, small.shape[-1])
    ):
        wanted = f"of {about.small_size} pixels, " if about.small_size else ""
        raise BadInput(
            f"The upsampler takes images {wanted}{about.channels} channels; these have {small.shape[-1]} and {small.shape[1]}."
        )
    plain = replace(request, guidance_scale=1.0, classifier_scale=0.0)
    return sample_batch(upsampler, plain, specs, to_float(small).to(upsampler.unet.device))


def last_step(steps: Iterator[Step]) -> Step:
    """Walk to the end, where xt are the finished images."""
    return deque(steps, maxlen=1).pop()
