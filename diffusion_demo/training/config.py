"""What a training run does: written into its folder first, and never changed."""

from dataclasses import dataclass

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import PREDICTION_TYPES, TASKS, VARIANCE_TYPES
from diffusion_demo.training.lr_schedule import LRSchedule

# From call to call of one run: where the images lie, and how to live with less memory.
MAY_DIFFER = ("data", "accumulation", "gradient_checkpointing")
SCHEDULE = (
    "lr_scheduler",
    "lr_total_steps",
    "lr_decay_steps",
)  # may change on resume as long as no step already taken would have differed
UPSCALE_FACTOR = 2  # by an upsampler


@dataclass(frozen=True)
class TrainConfig:
    """The hyper-parameters of a run, each with when to change it."""

    data: str
    task: str = "diffusion"  # classifier: names the class of a noisy image, to guide by; upsampler: makes an image from one of half the size
    preset: str = "small"  # tiny for a first look on a laptop, medium when there is a GPU; or a paper's network: iddpm-64, adm-64, adm-256 ...
    init_from: str | None = None  # a checkpoint to fine-tune; it brings its own network, size and schedule
    image_size: int = 32  # a multiple of 4, from 16; twice the side costs four times the time
    channels: int = 3  # 1 for grayscale images
    batch_size: int = 32  # larger is smoother and slower a step
    learning_rate: float = 5e-4  # 1e-4 to fine-tune, less if the loss jumps
    warmup_steps: int = 200  # steps over which the learning rate climbs from 0
    lr_scheduler: str = "constant_with_warmup"  # cosine or warmup_stable_decay where the number of steps is known: better at the end of the run
    lr_total_steps: int | None = None  # the step at which cosine and warmup_stable_decay reach 0 and the run ends
    lr_decay_steps: int | None = (
        None  # length of the final decay of warmup_stable_decay; None takes a fifth of the steps
    )
    weight_decay: float = 0.0
    grad_clip: float = 1.0  # the largest norm of the gradient
    ema_decays: tuple[float, ...] = (0.9995,)  # of the averaged weights; the first is the one that is sampled from
    dropout: float | None = None  # of the residual blocks; None keeps the preset's
    fit: str = "crop"  # of images that are not square: pad keeps all of them, squash too but distorts
    background: str = "#ffffff"  # where images are transparent or padded
    class_from: str = "folder"  # file_name where the class is what stands before the first _ of each name
    flip: bool = True  # mirror half of the images; off for text and for anything with a left and a right
    label_dropout: float = 0.1  # share of labels replaced by the null class, for guidance; 0 turns guidance off
    small_noise: float = (
        0.0  # most noise on the small images of an upsampler: 0.05 where it will enlarge what another model made
    )
    beta_schedule: str = "squaredcos_cap_v2"
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    variance_type: str = "learned_range"
    loss: str = "hybrid"  # simple for a fixed variance; rescaled_kl, the bound itself, for the best bits per dimension
    snr_gamma: float | None = None  # min-SNR weighting of the squared error; 5 in its paper, None for equal weights
    timestep_sampler: str = "stratified"  # loss_aware with rescaled_kl, whose gradient is noisy
    precision: str = "auto"
    accumulation: int = (
        1  # parts that a batch is worked through in, one after the other: the same result in less memory
    )
    gradient_checkpointing: bool = False  # less memory, slower, the same result
    save_every: int = 500
    sample_every: int = 500
    seed: int = 0

    def __post_init__(self):
        from diffusion_demo.data import CLASSES_FROM, ImageTransform
        from diffusion_demo.diffusion.losses import LOSSES
        from diffusion_demo.diffusion.schedules import SCHEDULES
        from diffusion_demo.diffusion.timesteps import TIMESTEP_SAMPLERS
        from diffusion_demo.runtime.device import PRECISIONS

        object.__setattr__(self, "ema_decays", tuple(self.ema_decays))
        limits = {
            "image_size": (16, 512),
            "batch_size": (1, 4096),
            "learning_rate": (1e-8, 1.0),
            "warmup_steps": (0, 1_000_000),
            "weight_decay": (0, 1),
            "grad_clip": (1e-6, 1e6),
            "label_dropout": (0, 0.99),
            "small_noise": (0, 1),
            "num_train_timesteps": (2, 10_000),
            "accumulation": (1, 4096),
            "save_every": (1, 10_000_000),
            "sample_every": (1, 10_000_000),
            "seed": (0, 2**31),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(
                    f"{name.replace('_', ' ').capitalize()} must be from {low:g} to {high:g}, not {value:g}.", name
                )
        choices = {
            "task": TASKS,
            "channels": (1, 3),
            "prediction_type": PREDICTION_TYPES,
            "variance_type": VARIANCE_TYPES,
            "beta_schedule": SCHEDULES,
            "loss": LOSSES,
            "timestep_sampler": TIMESTEP_SAMPLERS,
            "precision": PRECISIONS,
            "class_from": CLASSES_FROM,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise BadInput(
                    f"{name.replace('_', ' ').capitalize()} must be one of {', '.join(map(str, allowed))}, not {getattr(self, name)!r}.",
                    name,
                )
        if self.task == "classifier" and self.gradient_checkpointing:
            raise BadInput(
                "A classifier cannot recompute what it does not keep; leave out --gradient-checkpointing.",
                "gradient_checkpointing",
            )
        if self.batch_size % self.accumulation:
            raise BadInput(
                f"A batch of {self.batch_size} cannot be cut into {self.accumulation} equal parts; choose a divisor.",
                "accumulation",
            )
        ImageTransform(self.image_size, self.channels, self.fit, self.background)  # says what is wrong with them
        if self.task != "classifier" and self.loss == "simple" and self.variance_type == "learned_range":
            raise BadInput(
                "The simple loss does not train a learned variance; choose the hybrid loss, or the variance type fixed_large.",
                "loss",
            )
        if not self.ema_decays or not all(0 <= decay < 1 for decay in self.ema_decays):
            raise BadInput(
                f"EMA decays must be numbers from 0 up to, not including, 1, not {self.ema_decays}.", "ema_decays"
            )
        _ = self.lr_schedule  # raises BadInput for settings that contradict each other
        if self.snr_gamma is not None:
            if not 0 < self.snr_gamma <= 1000:
                raise BadInput(f"SNR gamma must be above 0 and at most 1000, not {self.snr_gamma:g}.", "snr_gamma")
            if self.task == "classifier" or self.loss in ("kl", "rescaled_kl") or self.prediction_type == "previous":
                raise BadInput(
                    "SNR gamma weights the squared error of epsilon, sample or v prediction; leave it out for this task or loss.",
                    "snr_gamma",
                )
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise BadInput(f"Dropout must be from 0 up to, not including, 1, not {self.dropout:g}.", "dropout")

    @property
    def lr_schedule(self) -> LRSchedule:
        """The schedule of the learning rate. Raises BadInput for settings that contradict each other."""
        return LRSchedule(self.lr_scheduler, self.warmup_steps, self.lr_total_steps, self.lr_decay_steps)


def config_of(given: dict) -> TrainConfig:
    """The config of the given settings, with what a checkpoint to go on from brings along. Raises BadInput for what cannot be."""
    return TrainConfig(**(inherit(given) if "init_from" in given else given))


def inherit(given: dict) -> dict:
    """The given settings with those that the checkpoint `init_from` brings along: schedule and parametrization, and unless given size and channels.

    Raises BadInput for a given setting that the checkpoint contradicts, or that its network cannot be made to fit.
    """
    from diffusion_demo.models.checkpoint import load_checkpoint
    from diffusion_demo.models.metadata import ORACLES
    from diffusion_demo.models.unet import check_image_size

    if given["init_from"] in ORACLES:
        raise BadInput(
            f"{given['init_from']} is a formula without weights; go on from a trained checkpoint.", "init_from"
        )
    start, task = load_checkpoint(given["init_from"]), given.get("task", "diffusion")
    if (start.description.task, task) not in [*((same, same) for same in TASKS), ("diffusion", "classifier")]:
        raise BadInput(
            f"The model to go on from was trained for the task {start.description.task}, not {task}; choose another.",
            "init_from",
        )
    size, channels = start.description.image_size, start.description.channels
    brought = {
        "num_train_timesteps": len(start.diffusion),
        "beta_schedule": start.beta_schedule,
        "prediction_type": start.diffusion.prediction_type,
        "variance_type": start.diffusion.variance_type,
    }
    if "preset" in given:
        raise BadInput("The checkpoint to go on from brings its own network; leave out --preset.")
    if (asked := given.get("image_size", size)) != size:
        if task == "classifier":
            raise BadInput(
                f"A classifier stays at the size of what it goes on from, {size}; leave out --image-size.", "image_size"
            )
        check_image_size(asked, levels=len(start.unet.config.block_out_channels))
    if task != "diffusion" and given.get("channels", channels) != channels:
        raise BadInput(f"The model to go on from works with {channels} channels; leave out --channels.", "channels")
    if channels == 3 and given.get("channels") == 1:
        raise BadInput(
            "The model to go on from makes color images, and takes grayscale ones as they are: keep 3 channels.",
            "channels",
        )
    for name, value in brought.items():
        if given.get(name, value) != value:
            raise BadInput(
                f"The checkpoint to go on from has {name.replace('_', ' ')} {value}; leave out --{name.replace('_', '-')}.",
                name,
            )
    return {"image_size": size, "channels": channels} | given | brought
