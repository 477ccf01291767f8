"""A U-Net's file of improved-diffusion or guided-diffusion (OpenAI) -> a checkpoint folder of ours."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from diffusion_demo.diffusion.process import Diffusion
from diffusion_demo.diffusion.schedules import named_betas
from diffusion_demo.errors import BadInput
from diffusion_demo.models.checkpoint import save_checkpoint, scheduler_of
from diffusion_demo.models.description import Description
from diffusion_demo.models.openai_file import read_tensors
from diffusion_demo.models.openai_layout import Layout, layout_of
from diffusion_demo.models.openai_network import Heads, build_network
from diffusion_demo.models.openai_presets import released_as
from diffusion_demo.models.openai_weights import fill, renamed

FIXED_VARIANCES = ("fixed_large", "fixed_small")
PREDICTIONS = ("epsilon", "sample")


@dataclass(frozen=True)
class Told:
    """What no tensor tells. The first three must be told, and one of the head counts; the others are as guided-diffusion's flags have them.

    variance_type counts where the network does not learn it: fixed_large, or fixed_small (sigma_small); prediction_type is epsilon, or sample
    (predict_xstart). rescale_timesteps: the network was told t * 1000/T. class_names: by index; their numbers where they are not told.
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
    class_names: tuple[str, ...] | None = None

    @property
    def heads(self) -> Heads:
        return Heads(self.num_heads, self.num_heads_upsample, self.num_head_channels)


@dataclass(frozen=True)
class Imported:
    """What an import wrote, for telling: `network` is the class's name, its own where stock diffusers could not read it."""

    layout: Layout
    description: Description
    network: str
    parameters: int


def import_unet(file: Path, out: Path, told: Told, command: str = "") -> Imported:
    """Write the checkpoint folder `out`, which must not exist yet. Raises BadInput with one sentence for what cannot be imported."""
    if out.exists():
        raise BadInput(f"{out} exists already; give --out a new folder.")
    tensors = read_tensors(file)
    try:
        layout = layout_of(tensors)
        _check(told, layout)
        diffusion = _chain(told, layout)
        with torch.device("meta"):
            network = build_network(layout, told.heads, told.image_size, 1000 / len(diffusion) if told.rescale_timesteps else 1.0)
        fill(network, renamed(tensors, layout, told.heads, told.new_attention_order))
    except BadInput as error:
        raise BadInput(f"{file.name} {error}", error.field) from error
    description = _description(file, told, layout, command)
    imported = Imported(layout, description, type(network).__name__, sum(p.numel() for p in network.parameters()))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as partial:
        folder = Path(partial) / "checkpoint"
        save_checkpoint(folder, network.eval(), scheduler_of(told.beta_schedule, diffusion), description, _card(imported))
        folder.rename(out)
    return imported


def _check(told: Told, layout: Layout) -> None:
    """Raise BadInput unless everything is told that must be, and fits the layout."""
    wanted = {
        "--num-heads N or --num-head-channels C": told.num_heads or told.num_head_channels,
        "--beta-schedule linear|squaredcos_cap_v2": told.beta_schedule,
        "--num-train-timesteps T": told.num_train_timesteps,
        "--image-size S": told.image_size,
    }
    if missing := [option for option, value in wanted.items() if value is None]:
        known = released_as(layout)
        hint = f"; the released {known[0]}, which has these sizes, has {known[1].options}" if known else ""
        raise BadInput(f"does not tell everything; give as well {', '.join(missing)}{hint}.")
    step = 2 ** (len(layout.widths) - 1)
    if told.image_size < step or told.image_size % step:
        raise BadInput(f"halves its pictures {len(layout.widths) - 1} times, so --image-size must be a multiple of {step}, not {told.image_size}.")
    if told.variance_type not in FIXED_VARIANCES or told.prediction_type not in PREDICTIONS:
        raise BadInput(f"can have the variance type {' or '.join(FIXED_VARIANCES)}, and the prediction type {' or '.join(PREDICTIONS)}.")
    if told.class_names is not None and len(told.class_names) != layout.classes:
        raise BadInput(f"has {layout.classes} classes, but {len(told.class_names)} names were given for them.")
    if twice := sorted({name for name in told.class_names or () if told.class_names.count(name) > 1}):
        raise BadInput(f"would have two classes called {twice[0]}; give each name once.")


def _chain(told: Told, layout: Layout) -> Diffusion:
    variance = "learned_range" if layout.learns_variance else told.variance_type
    try:
        return Diffusion(named_betas(told.beta_schedule, told.num_train_timesteps), told.prediction_type, variance)
    except ValueError as error:
        raise BadInput(f"cannot have that chain: {error}.") from error


def _description(file: Path, told: Told, layout: Layout, command: str) -> Description:
    names = tuple(map(str, range(layout.classes))) if told.class_names is None else told.class_names
    origin = f"imported from {file.name}{', an upsampler' if layout.is_upsampler else ''}"
    return Description(told.image_size, layout.channels, told.num_train_timesteps, names, command=command, origin=origin)


def _card(imported: Imported) -> str:
    """The model card: Markdown with the Hub's front matter."""
    d, layout = imported.description, imported.layout
    own = "" if imported.network == "UNet2DModel" else ", which stock diffusers cannot open"
    classes = f"- Classes: {len(d.class_names)}, and no null class: it cannot be guided without a classifier\n" if d.class_names else ""
    beside = f"- It enlarges: with x_t it is given the small picture, enlarged to {d.image_size}x{d.image_size}\n" if layout.is_upsampler else ""
    return f"""---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags:
- diffusion
- ddpm
---

# A diffusion model {d.origin}

- Pictures: {d.image_size}x{d.image_size}, {"colour" if d.channels == 3 else "greyscale"}
{classes}{beside}- Network: `{imported.network}`{own}, {imported.parameters / 1e6:.2f} million parameters
- Command: `{d.command}`
"""
