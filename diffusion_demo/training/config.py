"""The hyper-parameters of a training run: one field each, with its help, range and choices.

Validation, the options of `train`, the page's form and the run's config.json all follow from these fields.
"""

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import PREDICTION_TYPES, TASKS, VARIANCE_TYPES
from diffusion_demo.training.lr_schedule import LR_SCHEDULERS, LRSchedule
from diffusion_demo.validation import as_bad_input, check_choice, setting

# These may differ between the calls of a run: they change where the data is and how much memory is used, but not the
# result, except that another accumulation draws other dropout masks.
MAY_DIFFER = ("data", "accumulation", "gradient_checkpointing", "log_with")
# May change on resume, as long as no step already taken would have had another learning rate.
SCHEDULE = ("lr_scheduler", "lr_total_steps", "lr_decay_steps")
# Defaults of fine-tuning; measured in docs/training.md, "Fine-tuning on few images".
FINE_TUNING = {"learning_rate": 3e-4, "warmup_steps": 50}
UPSCALE_FACTOR = 2  # of an upsampler

# Repeated here so that `--help` need not import torch. A test compares both copies.
BETA_SCHEDULES = (
    *("squaredcos_cap_v2", "linear", "scaled_linear", "sigmoid", "const", "jsd", "warmup10", "warmup50"),
    "flow",
)
LOSSES = ("hybrid", "simple", "hybrid_unscaled", "kl", "rescaled_kl")
TIMESTEP_SAMPLERS = ("stratified", "uniform", "loss_aware")
PRECISIONS = ("auto", "fp32", "bf16")
CLASS_SOURCES = ("folder", "file_name")
FITS = ("crop", "pad", "squash")
TRACKERS = ("tensorboard", "trackio", "wandb")


def _as_tuple(value: Any) -> Any:
    """Return a list of JSON, which has no tuples, as a tuple."""
    return tuple(value) if isinstance(value, list) else value


Decays = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]
Paths = Annotated[str | tuple[str, ...], BeforeValidator(_as_tuple)]


class TrainConfig(BaseModel):
    """The hyper-parameters of a run. Raises BadInput, naming the field, for a value of another type or out of range."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)

    data: Paths = setting(
        ...,
        "Training images: a folder or a ZIP file. Subfolders become classes. Repeat the option to train on several.",
    )
    task: str = setting(
        "diffusion",
        "What to train: a model that generates images (diffusion), a classifier of noisy images that can guide one "
        "(classifier), or a model that enlarges images to twice their size (upsampler).",
        TASKS,
    )
    preset: str = setting(
        "small",
        "Network of a new model: tiny for a first look on a laptop, small for a CPU, medium for a GPU, or a paper's "
        "network such as iddpm-64 or adm-64.",
    )
    init_from: str | None = setting(
        None,
        "Checkpoint to fine-tune: a folder, a run, or a model on the Hub. Its network, image size and noise "
        "schedule are used.",
    )
    image_size: int = setting(
        32, "Side of the images in pixels, a multiple of 4. Twice the side costs four times the time.", ge=16, le=512
    )
    channels: int = setting(3, "3 for color, 1 for grayscale images.", (1, 3))
    batch_size: int = setting(
        32, "Images per optimizer step. A larger batch gives smoother, slower steps.", ge=1, le=4096
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate of AdamW. 1e-3 suits the small networks here, 1e-4 the papers' networks; the default for "
        "fine-tuning is 3e-4. Lower it if the loss jumps.",
        ge=1e-8,
        le=1.0,
    )
    warmup_steps: int = setting(
        200,
        "Steps over which the learning rate rises linearly from 0; the default for fine-tuning is 50.",
        ge=0,
        le=1_000_000,
    )
    lr_scheduler: str = setting(
        "constant_with_warmup",
        "Learning-rate schedule. cosine and warmup_stable_decay fall to 0 at --lr-total-steps and give better images "
        "at the end; constant_with_warmup can be continued at any time, and given a final decay later.",
        LR_SCHEDULERS,
    )
    lr_total_steps: int | None = setting(
        None,
        "Step at which cosine and warmup_stable_decay reach 0 and the run ends (default: --max-steps).",
        ge=1,
        le=10_000_000,
    )
    lr_decay_steps: int | None = setting(
        None, "Length of the final decay of warmup_stable_decay (default: a fifth of the steps).", ge=1, le=10_000_000
    )
    weight_decay: float = setting(0.0, "Weight decay of AdamW. The papers use none.", ge=0, le=1)
    grad_clip: float = setting(1.0, "Maximum gradient norm. Lower it if training is unstable.", ge=1e-6, le=1e6)
    ema_decays: Decays = setting(
        (0.9995,),
        "Decays of the exponential moving averages of the weights, separated by commas. Samples use the first. 0.9999 "
        "suits runs of more than 100,000 steps.",
    )
    ema_warmup: bool = setting(
        True,
        "Limit the decay at step n to n / (n + 9), so that short runs forget their start. Turn off for the constant "
        "decay of the papers.",
    )
    dropout: float | None = setting(
        None,
        "Dropout in the residual blocks (default: the preset's; in fine-tuning a network without it, 0.3 below 100 "
        "training images and 0.1 below 10,000).",
        ge=0,
        lt=1,
    )
    early_stopping_patience: int = setting(
        0,
        "Stop when the held-out loss has not improved for this many evaluations, one every --save-every steps. The "
        "best checkpoint is kept. 0 turns it off.",
        ge=0,
        le=10_000,
    )
    fit: str = setting(
        "crop",
        "How images that are not square become square: crop to the center, pad with the background color, or squash.",
        FITS,
    )
    background: str = setting("#ffffff", "Color behind transparent or padded images, as #rrggbb.")
    class_from: str = setting(
        "folder",
        "Where classes come from: the folder that an image is in, or the part of its file name before the first "
        "underscore (file_name).",
        CLASS_SOURCES,
    )
    drop_duplicates: bool = setting(False, "Drop exact duplicates of images.")
    balance_classes: bool = setting(
        False, "Sample all classes equally often, by repeating images of small classes in each epoch."
    )
    flip: bool = setting(
        True, "Flip half of the images horizontally. Turn off for text and wherever left and right differ."
    )
    label_dropout: float = setting(
        0.1,
        "Share of labels replaced by the null class, which classifier-free guidance needs. 0 turns guidance off.",
        ge=0,
        le=0.99,
    )
    small_noise: float = setting(
        0.0,
        "Largest standard deviation of the noise added to the low-resolution input of an upsampler. Use 0.05 if it "
        "will enlarge generated images.",
        ge=0,
        le=1,
    )
    beta_schedule: str = setting("squaredcos_cap_v2", "Noise schedule of a new model.", BETA_SCHEDULES)
    num_train_timesteps: int = setting(1000, "Number of timesteps T of a new model.", ge=2, le=10_000)
    prediction_type: str = setting(
        "v_prediction",
        "What a new network predicts. v_prediction gives good colors and few-step samples soonest; DDPM uses epsilon.",
        PREDICTION_TYPES,
    )
    variance_type: str = setting(
        "learned_range",
        "Variance of the reverse process of a new model; Improved DDPM uses learned_range.",
        VARIANCE_TYPES,
    )
    loss: str = setting(
        "hybrid",
        "Training loss: hybrid for a learned variance, simple for a fixed one, rescaled_kl (the bound itself) for the "
        "best bits per dimension.",
        LOSSES,
    )
    snr_gamma: float = setting(
        5.0,
        "Min-SNR weighting of the squared error (Hang et al. 2023); 0 for equal weights, as in DDPM. Not used by "
        "classifiers and the losses kl and rescaled_kl.",
        ge=0,
        le=1000,
    )
    timestep_sampler: str = setting(
        "stratified",
        "How training timesteps are drawn: stratified over a batch, uniform, or loss_aware (importance sampling, for "
        "rescaled_kl).",
        TIMESTEP_SAMPLERS,
    )
    precision: str = setting(
        "auto",
        "Precision of the network: bf16 (mixed precision), fp32, or auto, whichever is faster on this machine.",
        PRECISIONS,
    )
    accumulation: int = setting(
        1,
        "Gradient accumulation: number of equal parts in which a batch is processed. Less memory, the same "
        "gradient except for different dropout masks.",
        ge=1,
        le=4096,
    )
    gradient_checkpointing: bool = setting(
        False, "Recompute activations in the backward pass: less memory, slower, the same result."
    )
    save_every: int = setting(500, "Steps between checkpoints.", ge=1, le=10_000_000)
    sample_every: int = setting(500, "Steps between previews.", ge=1, le=10_000_000)
    seed: int = setting(0, "Seed of weights, batches, noise and dropout.", ge=0, le=2**31)
    log_with: str | None = setting(
        None, "Experiment tracker that also gets losses, learning rate and previews; install its package.", TRACKERS
    )

    def __init__(self, **settings: Any):
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise as_bad_input(error.errors()[0], type(self).model_fields) from error

    @field_validator("*")
    @classmethod
    def _is_a_choice(cls, value: Any, info: ValidationInfo) -> Any:
        return check_choice(value, info, cls.model_fields)

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        """Raise BadInput for settings that contradict each other."""
        from diffusion_demo.data import ImageTransform

        if self.task == "classifier" and self.gradient_checkpointing:
            raise BadInput(
                "A classifier cannot use gradient checkpointing. Leave out --gradient-checkpointing.",
                "gradient_checkpointing",
            )
        if self.batch_size % self.accumulation:
            raise BadInput(
                f"A batch of {self.batch_size} cannot be split into {self.accumulation} equal parts. Use a divisor.",
                "accumulation",
            )
        ImageTransform.of(self)
        if self.task != "classifier" and self.loss == "simple" and self.variance_type == "learned_range":
            raise BadInput(
                "The simple loss does not train a learned variance. Use the hybrid loss, or variance type fixed_large.",
                "loss",
            )
        if not self.ema_decays or not all(0 <= decay < 1 for decay in self.ema_decays):
            raise BadInput("EMA decay must be at least 0 and less than 1.", "ema_decays")
        _ = self.lr_schedule
        return self

    @property
    def lr_schedule(self) -> LRSchedule:
        """The learning-rate schedule. Raises BadInput for settings that contradict each other."""
        return LRSchedule(self.lr_scheduler, self.warmup_steps, self.lr_total_steps, self.lr_decay_steps)

    @property
    def min_snr_gamma(self) -> float | None:
        """Gamma of the min-SNR weighting; None where it is off or not defined for the task, loss or prediction."""
        defined = self.task != "classifier" and self.loss not in ("kl", "rescaled_kl")
        return self.snr_gamma if self.snr_gamma and defined else None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return type(self)(**self.model_dump() | changes)

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """Return the config of a config.json. Missing fields get the values that older releases used."""
        return cls(**{"snr_gamma": 0.0} | settings)


def check_settings(settings: dict[str, Any]) -> None:
    """Raise BadInput, naming the field, unless these are some of the settings, each of its type and in its range."""
    for name, value in settings.items():
        if name not in TrainConfig.model_fields:
            raise BadInput(f"There is no setting {name!r}. Remove it, or correct its name.", name)
        try:
            TrainConfig.__pydantic_validator__.validate_assignment(TrainConfig.model_construct(), name, value)
        except ValidationError as error:
            first = next((detail for detail in error.errors() if detail["loc"][:1] == (name,)), None)
            if first is not None:
                raise as_bad_input(first, TrainConfig.model_fields) from error


def config_with_inherited(settings: dict[str, Any]) -> TrainConfig:
    """Return the config of some settings and of the checkpoint to fine-tune. Raises BadInput where they conflict."""
    if "init_from" not in settings:
        return TrainConfig(**settings)
    from diffusion_demo.training.inherited_settings import inherit

    return TrainConfig(**FINE_TUNING | inherit(settings))
