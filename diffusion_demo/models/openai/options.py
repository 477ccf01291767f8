"""What a person tells of an OpenAI network because no tensor does: is it all there, and does it fit?"""

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
    """The first three must be told, and one of the head counts; the others are as guided-diffusion's flags have them.

    image_size: follows from a classifier's attention pool. variance_type counts where the network does not learn it: fixed_large, or fixed_small
    (sigma_small); prediction_type is epsilon, or sample (predict_xstart). rescale_timesteps: the network was told t * 1000/T. num_res_blocks: for
    a classifier whose tensors can be read in several ways. class_names: by index; their numbers where they are not told.
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
    class_names: tuple[str, ...] | None = None

    @property
    def heads(self) -> Heads:
        return Heads(self.num_heads, self.num_heads_upsample, self.num_head_channels)

    @property
    def time_scale(self) -> float:
        """What t is multiplied by before the network's sinusoids of it."""
        return 1000 / self.num_train_timesteps if self.rescale_timesteps else 1.0

    def check(self, layout: Layout | ClassifierLayout) -> None:
        """Raise BadInput, without the file's name before it, unless everything is told that must be, and fits the layout."""
        trunk = layout.trunk if isinstance(layout, ClassifierLayout) else layout
        self._check_missing(layout)
        step = 2 ** (len(trunk.widths) - 1)
        if self.image_size is not None and (self.image_size < step or self.image_size % step):
            raise BadInput(
                f"halves its images {len(trunk.widths) - 1} times, so --image-size must be a multiple of {step}, not {self.image_size}."
            )
        if self.variance_type not in FIXED_VARIANCES or self.prediction_type not in PREDICTIONS:
            raise BadInput(
                f"can have the variance type {' or '.join(FIXED_VARIANCES)}, and the prediction type {' or '.join(PREDICTIONS)}."
            )
        if self.class_names is not None and len(self.class_names) != layout.classes:
            raise BadInput(f"has {layout.classes} classes, but {len(self.class_names)} names were given for them.")
        if twice := sorted({name for name in self.class_names or () if self.class_names.count(name) > 1}):
            raise BadInput(f"would have two classes called {twice[0]}; give each name once.")

    def _check_missing(self, layout: Layout | ClassifierLayout) -> None:
        pool = layout.pool if isinstance(layout, ClassifierLayout) else ""
        by_width = {"--num-head-channels C": self.num_head_channels}
        either = {"--num-heads N or --num-head-channels C": self.num_heads or self.num_head_channels}
        wanted = (by_width if pool == "attention" else either) | {
            "--beta-schedule linear|squaredcos_cap_v2": self.beta_schedule,
            "--num-train-timesteps T": self.num_train_timesteps,
        }
        if pool != "attention":
            wanted["--image-size S"] = self.image_size
        if missing := [option for option, value in wanted.items() if value is None]:
            known = match_released(layout)
            hint = f"; the released {known[0]}, which has these sizes, has {known[1].options}" if known else ""
            raise BadInput(f"does not tell everything; give as well {', '.join(missing)}{hint}.")

    def chain(self, learns_variance: bool) -> Diffusion:
        """The chain that it was trained with. Raises BadInput, without the file's name before it, for one that there is not."""
        try:
            betas = named_betas(self.beta_schedule, self.num_train_timesteps)
            return Diffusion(betas, self.prediction_type, "learned_range" if learns_variance else self.variance_type)
        except ValueError as error:
            raise BadInput(f"cannot have that chain: {error}.") from error

    def names(self, classes: int) -> tuple[str, ...]:
        """The classes' names, by index."""
        return tuple(map(str, range(classes))) if self.class_names is None else self.class_names
