"""A request -> steps: seeds per picture, classes, guidance, precision, and PNG files with their settings."""

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_demo import __version__
from diffusion_demo.diffusion.guidance import Gradient, Interval, classifier_free, classifier_gradient
from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.samplers import SAMPLERS, Step
from diffusion_demo.diffusion.timesteps import log_snr_timesteps, spaced_timesteps
from diffusion_demo.errors import BadInput
from diffusion_demo.images import read_settings, save_png, to_float, to_pil, to_uint8
from diffusion_demo.machine import PRECISIONS, resolve_precision
from diffusion_demo.models.checkpoint import Checkpoint
from diffusion_demo.models.description import Description
from diffusion_demo.models.unet import as_denoiser

MAX_SEED = 2**48
LEAST_SIGNAL = 1e-3  # of abar_t, for a classifier's guidance of ddim
SECOND_STAGE = 2**49  # between a picture's seed and that of the noise in which it is enlarged
BATCH_SIZE = 16


@dataclass(frozen=True)
class Request:
    """What to sample. Picture i is made from seed + i alone; class_index None draws each picture's class from its seed.

    steps is a count, or the words of timesteps.spaced_timesteps. guidance_scale is classifier-free guidance's, 1 for none; classifier_scale that of
    a classifier's, 0 for none; guidance_interval the lowest and the highest t, of 0 .. T-1, at which either acts (none: at all that are sound).
    """

    num_images: int = 16
    sampler: str = "dpm_solver"
    steps: int | str = 12
    eta: float = 0.0
    seed: int = 0
    class_index: int | None = None
    guidance_scale: float = 1.0
    precision: str = "auto"
    guidance_interval: tuple[int, int] | None = None
    classifier_scale: float = 0.0

    def check(self, description: Description) -> None:
        """Raise BadInput, in one sentence, for what the model cannot do."""
        if self.num_images < 1:
            raise BadInput(f"The number of images must be at least 1, not {self.num_images}.")
        if self.sampler not in SAMPLERS:
            raise BadInput(f"There is no sampler {self.sampler!r}; choose one of {', '.join(SAMPLERS)}.")
        check_steps(self.steps, description)
        if not 0 <= self.eta <= 1:
            raise BadInput(f"Eta must be from 0 (deterministic) to 1 (ancestral), not {self.eta:g}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise BadInput(f"The seed must be a whole number from 0 to {MAX_SEED}, not {self.seed}.")
        if not 0 <= self.guidance_scale <= 100:
            raise BadInput(f"The guidance scale must be from 0 to 100, not {self.guidance_scale:g}.")
        if not 0 <= self.classifier_scale <= 100:
            raise BadInput(f"The classifier's scale must be from 0 (off) to 100, not {self.classifier_scale:g}.")
        last = description.num_train_timesteps - 1
        if self.guidance_interval is not None and not 0 <= self.guidance_interval[0] <= self.guidance_interval[1] <= last:
            raise BadInput(f"Guidance acts from a lower t to a higher, both from 0 to {last}; not {self.guidance_interval}.")
        if self.precision not in PRECISIONS:
            raise BadInput(f"Precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.class_index is not None and not 0 <= self.class_index < len(description.class_names):
            raise BadInput(f"There is no class {self.class_index}; {_classes_sentence(description)}")
        if self.guidance_scale != 1 and not description.guidance:
            raise BadInput("This model was trained without a null class, so it cannot be guided; set the guidance scale to 1.")


def steps_of(request: Request, diffusion: Diffusion) -> list[int]:
    """The timesteps that a request visits, ascending: dpm_solver's are even in log SNR, the others' in t, unless the request names them."""
    if request.sampler == "dpm_solver" and isinstance(request.steps, int):
        return log_snr_timesteps(diffusion.abar, request.steps)
    return spaced_timesteps(len(diffusion), request.steps)


def check_steps(steps: int | str, description: Description) -> None:
    """Raise BadInput for steps that the model's chain cannot be walked in."""
    try:
        spaced_timesteps(description.num_train_timesteps, steps)
    except ValueError as error:
        raise BadInput(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def class_index(name: str, description: Description) -> int:
    """The index of a class given by name, title or number. Raises BadInput, naming the classes that there are."""
    for words in (description.class_names, [description.title(c) for c in description.class_names]):
        if name in words:
            return words.index(name)
    if name.isdecimal() and int(name) < len(description.class_names):
        return int(name)
    raise BadInput(f"There is no class {name!r}; {_classes_sentence(description)}")


def _classes_sentence(description: Description) -> str:
    if not description.class_names:
        return "this model has no classes."
    return f"choose one of {', '.join(map(description.title, description.class_names))}, or a number from 0 to {len(description.class_names) - 1}."


def class_of_seed(seed: int, num_classes: int) -> int:
    """The class that a seed draws when none is asked for."""
    return random.Random(seed).randrange(num_classes)


class Picture(NamedTuple):
    """What tells one picture of a request from the others: its seed, and its class (None for a model without classes)."""

    seed: int
    class_index: int | None


def pictures_of(request: Request, description: Description) -> list[Picture]:
    """The pictures of a request: seed + i each, with the class that was asked for or the one that the seed draws."""
    seeds = range(request.seed, request.seed + request.num_images)
    if not description.class_names:
        return [Picture(seed, None) for seed in seeds]
    if request.class_index is not None:
        return [Picture(seed, request.class_index) for seed in seeds]
    return [Picture(seed, class_of_seed(seed, len(description.class_names))) for seed in seeds]


class SeededNoise:
    """Standard normal noise [N, *shape] where row i comes from its own CPU generator, so that it never depends on the batch."""

    def __init__(self, seeds: list[int], shape: tuple[int, ...], device: torch.device):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape, self.device = shape, device

    def __call__(self) -> Tensor:
        return torch.stack([torch.randn(self.shape, generator=g) for g in self.generators]).to(self.device)


def noise_of(checkpoint: Checkpoint, pictures: list[Picture]) -> SeededNoise:
    """The noise of some pictures; the first draw is x_T. An upsampler's is another than that of the model whose pictures it enlarges."""
    d = checkpoint.description
    apart = SECOND_STAGE if d.task == "upsampler" else 0
    return SeededNoise([picture.seed + apart for picture in pictures], (d.channels, d.image_size, d.image_size), checkpoint.unet.device)


def sample(checkpoint: Checkpoint, request: Request) -> Iterator[Step]:
    """Sample the request's pictures in one batch, step by step; the last step's xt are the pictures, float32 in [-1, 1].

    Raises BadInput before the first step when the request cannot be met.
    """
    request.check(checkpoint.description)
    return sample_batch(checkpoint, request, pictures_of(request, checkpoint.description))


@torch.no_grad()
def sample_batch(checkpoint: Checkpoint, request: Request, pictures: list[Picture], small: Tensor | None = None) -> Iterator[Step]:
    """Sample these pictures in one batch, with everything but seeds and classes as the request says.

    small, float [N, C, s, s] in [-1, 1], are the pictures that an upsampler enlarges. Raises BadInput for a model that is of another kind than the
    request needs, and when the network's answers are not finite.
    """
    description, device, noise = checkpoint.description, checkpoint.unet.device, noise_of(checkpoint, pictures)
    if description.task == "classifier":
        raise BadInput("This is a classifier, which makes no pictures; it can guide a model that does (--classifier).")
    denoiser, condition = as_denoiser(checkpoint.unet, resolve_precision(request.precision, device), small), {}
    if description.class_names and getattr(checkpoint.unet, "config", {}).get("num_class_embeds"):
        condition["class_labels"] = torch.tensor([picture.class_index for picture in pictures], device=device)
        if request.guidance_scale != 1:
            null_class, interval = description.null_class, request.guidance_interval
            denoiser = classifier_free(denoiser, request.guidance_scale, null_class, description.channels, interval)
    if request.classifier_scale:
        condition["gradient"] = _gradient(checkpoint, request, pictures)
    chain = checkpoint.diffusion.respaced(steps_of(request, checkpoint.diffusion))
    options = {"eta": request.eta} if request.sampler == "ddim" else {}
    try:
        yield from SAMPLERS[request.sampler](denoiser, chain, noise(), noise, **options, **condition)
    except FloatingPointError as error:
        raise BadInput(f"The model gives no numbers ({error}); use --precision fp32 or another checkpoint.") from error


def _gradient(checkpoint: Checkpoint, request: Request, pictures: list[Picture]) -> Gradient:
    classifier = checkpoint.classifier
    if classifier is None:
        raise BadInput("This model has no classifier beside it; set the classifier's scale to 0, or name one (--classifier).")
    names, known = checkpoint.description.class_names, list(classifier.config.class_names)
    labels = torch.tensor([known.index(names[picture.class_index]) for picture in pictures], device=checkpoint.unet.device)
    return classifier_gradient(classifier, labels, request.classifier_scale, request.guidance_interval or _steady(request, checkpoint.diffusion))


def _steady(request: Request, diffusion: Diffusion) -> Interval | None:
    """Where a classifier guides unless the request says so: everywhere but, in ddim, where almost nothing of the picture is left.

    ddim does not clip the x_0 that it shifts (ADM Algorithm 2), and the shift is multiplied by 1/sqrt(abar): 20,000 at the end of a cosine schedule.
    """
    return (0, int((diffusion.abar >= LEAST_SIGNAL).sum()) - 1) if request.sampler == "ddim" else None


def upsample(upsampler: Checkpoint, small: Tensor, request: Request, pictures: list[Picture]) -> Iterator[Step]:
    """Enlarge pictures, uint8 [N, C, s, s], step by step, with the sampler, steps and eta of the request that made them, unguided.

    Improved DDPM section 5; ADM section 5.2. Raises BadInput where the upsampler knows other pictures.
    """
    about = upsampler.description
    if small.shape[1] != about.channels or small.shape[-1] >= about.image_size or about.small_size not in (None, small.shape[-1]):
        wanted = f"of {about.small_size} pixels, " if about.small_size else ""
        raise BadInput(f"The upsampler takes pictures {wanted}{about.channels} channels; these have {small.shape[-1]} and {small.shape[1]}.")
    plain = replace(request, guidance_scale=1.0, classifier_scale=0.0)
    return sample_batch(upsampler, plain, pictures, to_float(small).to(upsampler.unet.device))


def last_step(steps: Iterator[Step]) -> Step:
    """Walk to the end, where xt are the finished pictures."""
    return deque(steps, maxlen=1).pop()


def settings_of(request: Request, pictures: list[Picture], checkpoint_name: str, checkpoint: Checkpoint, **helpers: str) -> list[dict]:
    """For each picture, what makes it again: the text inside its PNG. helpers: the names of the upsampler and the classifier that took part."""
    common = asdict(request) | {
        "program": f"diffusion_demo {__version__}",
        "checkpoint": checkpoint_name,
        "weights": checkpoint.weights,
        "num_images": 1,
        "precision": resolve_precision(request.precision, checkpoint.unet.device),
    }
    del common["class_index"]
    common["guidance_interval"] = list(request.guidance_interval) if request.guidance_interval else None
    seldom = {"guidance_interval": None, "classifier_scale": 0.0}
    common = {name: value for name, value in common.items() if name not in seldom or value != seldom[name]} | helpers
    names = checkpoint.description.class_names
    return [common | {"seed": seed} | ({} if index is None else {"class": names[index]}) for seed, index in pictures]


def file_name(seed: int) -> str:
    return f"seed_{seed:08d}.png"


def sample_to_folder(
    checkpoint: Checkpoint,
    checkpoint_name: str,
    request: Request,
    pictures: list[Picture],
    out: Path,
    progress: Callable[[int], None] = lambda images: None,
    enlarge_with: Checkpoint | None = None,
    **helpers: str,
) -> list[Path]:
    """Write one PNG per picture into `out`, in batches, and return their paths. Pictures already there with the same settings are kept.

    progress(n) is told of each n pictures that are done; enlarge_with is an upsampler; helpers are as in settings_of. Raises BadInput when `out`
    cannot be written or holds other pictures of those names.
    """
    request.check(checkpoint.description)
    settings = settings_of(request, pictures, checkpoint_name, checkpoint, **helpers)
    paths = [out / file_name(picture.seed) for picture in pictures]
    try:
        out.mkdir(parents=True, exist_ok=True)
        missing = [i for i, path in enumerate(paths) if not _is_there(path, settings[i])]
        progress(len(paths) - len(missing))
        for start in range(0, len(missing), BATCH_SIZE):
            batch = missing[start : start + BATCH_SIZE]
            seeds = [pictures[i] for i in batch]
            made = to_uint8(last_step(sample_batch(checkpoint, request, seeds)).xt)
            if enlarge_with:
                made = to_uint8(last_step(upsample(enlarge_with, made, request, seeds)).xt)
            for i, pixels in zip(batch, made, strict=True):
                save_png(paths[i], to_pil(pixels), settings[i])
            progress(len(batch))
    except OSError as error:
        raise BadInput(f"Cannot write to {out} ({error.strerror or error}); choose another folder.") from error
    return paths


def _is_there(path: Path, settings: dict) -> bool:
    if not path.exists():
        return False
    try:
        found = read_settings(path)
    except BadInput:
        found = None
    if found != settings:
        raise BadInput(f"{path} was made with other settings; choose another folder, or remove it.")
    return True
