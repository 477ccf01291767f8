"""Options of an import: what cannot be inferred from the tensors of an OpenAI network."""

from dataclasses import dataclass

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.classifier_layout import ClassifierLayout
from diffusion_demo.models.openai.layout import Layout
from diffusion_demo.models.openai.network import Heads
from diffusion_demo.models.openai.presets import match_released

FIXED_VARIANCES = ("fixed_large", "fixed_small")
PREDICTIONS = ("epsilon", "sample")


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import. The first three and one of the head options are required.

    image_size           side in pixels; not needed for a classifier with attention pooling
    beta_schedule        a name of schedules.SCHEDULES
    num_heads            heads per attention block
    num_heads_upsample   heads per attention block on the way up, if different
    num_head_channels    channels per head; replaces num_heads
    new_attention_order  guided-diffusion's use_new_attention_order
    rescale_timesteps    whether the network was given t * 1000/T
    variance_type        if the network does not learn it: fixed_large, or fixed_small (their sigma_small)
    prediction_type      epsilon, or sample (their predict_xstart)
    num_res_blocks       for a classifier whose tensors fit several layouts
    small_size           side in pixels of the images that an upsampler enlarges; by default that of the released
                         network with this layout
    class_names          by class index; the indices themselves if None
    weights              which network of a file that holds several, such as ema
    """

    image_size: int | None = None
    beta_schedule: str | None = None
    num_train_timesteps: int | None = None
    num_heads: int | None = None
    num_heads_upsample: int | None = None
    num_head_channels: int | None = None
    new_attention_order: bool = False
    rescale_timesteps: bool = False
    variance_type: str = "fixed_large"
    prediction_type: str = "epsilon"
    num_res_blocks: int | None = None
    small_size: int | None = None
    class_names: tuple[str, ...] | None = None
    weights: str | None = None

    @property
    def heads(self) -> Heads:
        """How attention is split into heads."""
        return Heads(self.num_heads, self.num_heads_upsample, self.num_head_channels)

    @property
    def time_scale(self) -> float:
        """The factor that multiplies t before its sinusoidal embedding."""
        if not self.rescale_timesteps:
            return 1.0
        assert self.num_train_timesteps is not None
        return 1000 / self.num_train_timesteps

    def check(self, layout: Layout | ClassifierLayout) -> None:
        """Raise BadInput, its message without the file's name, if an option is missing or contradicts `layout`."""
        trunk = layout.trunk if isinstance(layout, ClassifierLayout) else layout
        self._check_missing(layout)
        step = 2 ** (len(trunk.widths) - 1)
        if self.image_size is not None and (self.image_size < step or self.image_size % step):
            halvings = len(trunk.widths) - 1
            raise BadInput(
                f"halves its images {halvings} times, so --image-size must be a multiple of {step}, "
                f"not {self.image_size}."
            )
        if self.variance_type not in FIXED_VARIANCES or self.prediction_type not in PREDICTIONS:
            variances, predictions = " or ".join(FIXED_VARIANCES), " or ".join(PREDICTIONS)
            raise BadInput(f"needs --variance-type {variances} and --prediction-type {predictions}.")
        self._check_small_size(trunk)
        names = self.class_names or ()
        if self.class_names is not None and len(names) != layout.classes:
            raise BadInput(f"has {layout.classes} classes, but {len(names)} names were given. Give one name per class.")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise BadInput(f"would have two classes called {repeated[0]}. Give each name once.")

    def _check_small_size(self, layout: Layout) -> None:
        if self.small_size is None:
            return
        if not layout.is_upsampler:
            raise BadInput("is not an upsampler. Leave out --small-size.")
        if not 1 <= self.small_size < (self.image_size or 0):
            raise BadInput(f"needs --small-size from 1 to {(self.image_size or 1) - 1}, not {self.small_size}.")

    def small_size_or_released(self, layout: Layout) -> int | None:
        """Return the side of an upsampler's input images, or None for one that is unknown or for another network."""
        if self.small_size is not None or not layout.is_upsampler:
            return self.small_size
        match = match_released(layout)
        return match[1].small_size if match and match[1].image_size == self.image_size else None

    def _check_missing(self, layout: Layout | ClassifierLayout) -> None:
        pool = layout.pool if isinstance(layout, ClassifierLayout) else ""
        by_width = {"--num-head-channels C": self.num_head_channels}
        either = {"--num-heads N or --num-head-channels C": self.num_heads or self.num_head_channels}
        required = (by_width if pool == "attention" else either) | {
            "--beta-schedule linear|squaredcos_cap_v2": self.beta_schedule,
            "--num-train-timesteps T": self.num_train_timesteps,
        }
        if pool != "attention":
            required["--image-size S"] = self.image_size
        if missing := [option for option, value in required.items() if value is None]:
            match = match_released(layout)
            hint = f" The released {match[0]} has these sizes and uses {match[1].options}." if match else ""
            raise BadInput(f"needs more options: {', '.join(missing)}.{hint}")

    def make_diffusion(self, learns_variance: bool) -> Diffusion:
        """Return the chain that the network was trained with, once `check` has passed.

        Raises BadInput, with a message that lacks the file's name, if there is no such chain.
        """
        assert self.beta_schedule is not None and self.num_train_timesteps is not None
        try:
            betas = named_betas(self.beta_schedule, self.num_train_timesteps)
            return Diffusion(betas, self.prediction_type, "learned_range" if learns_variance else self.variance_type)
        except ValueError as error:
            raise BadInput(f"cannot be imported: {error}.") from error

    def class_names_or_indices(self, num_classes: int) -> tuple[str, ...]:
        """Return the class names, or the class indices if no names were given."""
        return tuple(map(str, range(num_classes))) if self.class_names is None else self.class_names
