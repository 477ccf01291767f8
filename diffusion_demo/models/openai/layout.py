"""Infer the layout of an OpenAI U-Net (improved-diffusion, guided-diffusion) from tensor names and shapes.

input_blocks.0.0 is the first convolution. Each level then has `blocks` residual blocks, input_blocks.N.0, with
attention in input_blocks.N.1 at the levels that have it. Every level but the last ends with one more block that halves
the image: a convolution (N.0.op) or a residual block. output_blocks mirror this with blocks + 1 residual blocks per
level, the last of which also doubles the image (M.1 or, after attention, M.2). A residual block pools without weights,
so a halving one looks like any other; the number of blocks per level follows from the positions of the doubling ones.

BadInput raised here and in the modules that use it has a message without its subject, the name of the file, which
convert.import_network prepends.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from diffusion_demo.errors import BadInput

GROUPS = 32
ESSENTIAL = ("time_embed.0.weight", "time_embed.2.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight")
SUPPORTED = (
    "Supported are U-Nets of guided-diffusion or improved-diffusion (model*.pt or ema_*.pt) and noisy classifiers of "
    "guided-diffusion"
)
# Parts of tensor names by which other kinds of files are recognized, and what those files are.
OTHER_FORMATS = {
    "param_groups": "contains an optimizer's state",
    "transformer_blocks": "is a latent diffusion model with cross-attention, such as Stable Diffusion",
    "first_stage_model": "is a latent diffusion model, such as Stable Diffusion",
    "model.diffusion_model": "is a latent diffusion model, such as Stable Diffusion",
    "down_blocks": "uses the tensor names of diffusers, not OpenAI's",
}


@dataclass(frozen=True)
class Layout:
    """The sizes of a U-Net.

    model_channels   width of the sinusoidal embedding of t
    widths           channels per level
    blocks           residual blocks per level
    attention        per level, whether it has attention
    classes          rows of the class embedding; 0 without one
    scale_shift      whether the time embedding scales and shifts the normalized activations (use_scale_shift_norm)
    resblock_updown  whether residual blocks rather than convolutions halve and double the image
    """

    model_channels: int
    widths: tuple[int, ...]
    blocks: int
    attention: tuple[bool, ...]
    in_channels: int
    out_channels: int
    classes: int = 0
    scale_shift: bool = True
    resblock_updown: bool = False

    @property
    def channels(self) -> int:
        """The channels of the images.

        in_channels is twice as many for an upsampler, out_channels for a learned variance.
        """
        return 1 if self.in_channels < 3 else 3

    @property
    def learns_variance(self) -> bool:
        """Whether the second half of the output channels parameterizes the variance."""
        return self.out_channels == 2 * self.channels

    @property
    def is_upsampler(self) -> bool:
        """Whether the second half of the input channels is the upscaled low-resolution image (SuperResModel)."""
        return self.in_channels == 2 * self.channels

    @property
    def attention_widths(self) -> tuple[int, ...]:
        """The widths of all attention blocks; the last one is that of the middle block, which always has attention."""
        attending = (width for width, attends in zip(self.widths, self.attention, strict=True) if attends)
        return (*attending, self.widths[-1])


def read_layout(tensors: Mapping[str, Tensor]) -> Layout:
    """Return the layout of a U-Net. Raises BadInput for any other network.

    Only the first block of each level is inspected; load_weights checks the shapes of the others.
    """
    reject_other_formats(tensors, (*ESSENTIAL, "out.2.weight"))
    shape = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    per_level, levels = _count_levels(shape)
    firsts = [f"input_blocks.{per_level * level + 1}" for level in range(levels)]
    widths = tuple(shape[f"{first}.0.out_layers.3.weight"][0] for first in firsts)
    layout = Layout(
        model_channels=shape["time_embed.0.weight"][1],
        widths=widths,
        blocks=per_level - 1,
        attention=tuple(f"{first}.1.qkv.weight" in shape for first in firsts),
        in_channels=shape["input_blocks.0.0.weight"][1],
        out_channels=shape["out.2.weight"][0],
        classes=(shape.get("label_emb.weight") or (0,))[0],
        scale_shift=shape[f"{firsts[0]}.0.emb_layers.1.weight"][0] == 2 * widths[0],
        resblock_updown=levels > 1 and f"input_blocks.{per_level}.0.in_layers.0.weight" in shape,
    )
    check_sizes(layout)
    return layout


def _count_levels(shape: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Return the number of output blocks per level, and the number of levels."""
    inputs, outputs = count_blocks(shape, "input_blocks"), count_blocks(shape, "output_blocks")
    doubling = [
        m
        for m in range(outputs)
        if any(f"output_blocks.{m}.{n}.{w}.weight" in shape for n in (1, 2) for w in ("conv", "in_layers.0"))
    ]
    per_level = doubling[0] + 1 if doubling else outputs
    levels, rest = divmod(outputs, per_level)
    if rest or inputs != outputs or per_level < 2 or doubling != [per_level * (k + 1) - 1 for k in range(levels - 1)]:
        raise BadInput(f"does not halve and double the image with weights between all levels. {SUPPORTED}.")
    return per_level, levels


def reject_other_formats(tensors: Mapping[str, Tensor], essential: tuple[str, ...] = ESSENTIAL) -> None:
    """Raise BadInput for another kind of file, or if an essential tensor is missing or has fewer than 2 dimensions."""
    for part, description in OTHER_FORMATS.items():
        if any(part in str(name) for name in tensors):
            raise BadInput(f"{description}. {SUPPORTED}.")
    if not tensors or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()):
        raise BadInput(f"is not a dictionary of named tensors. {SUPPORTED}.")
    if missing := [name for name in essential if name not in tensors or tensors[name].ndim < 2]:
        raise BadInput(f"has no usable tensor {missing[0]}. {SUPPORTED}.")


def count_blocks(shape: Mapping[str, tuple[int, ...]], side: str) -> int:
    """Return the number of blocks in `side`, "input_blocks" or "output_blocks".

    Raises BadInput if a block has no weights, or if its first module is neither a residual block nor a convolution.
    """
    indices = {int(match[1]) for name in shape if (match := re.match(rf"{side}\.(\d{{1,4}})\.", name))}
    if indices != set(range(len(indices))):
        gap = min(set(range(max(indices))) - indices)
        raise BadInput(
            f"has no weights in {side}.{gap}: it pools without a convolution (conv_resample False), "
            "which UNet2DModel does not support. Use a model with conv_resample True."
        )
    leaves = ("in_layers.2", "out_layers.3", "emb_layers.1")
    for n in range(1 if side == "input_blocks" else 0, len(indices)):
        if f"{side}.{n}.0.op.weight" in shape:
            continue
        if missing := [leaf for leaf in leaves if len(shape.get(f"{side}.{n}.0.{leaf}.weight", ())) < 2]:
            raise BadInput(f"has no usable tensor {side}.{n}.0.{missing[0]}.weight. {SUPPORTED}.")
    return len(indices)


def check_sizes(layout: Layout) -> None:
    """Raise BadInput for channel counts that no image has, and for widths that GroupNorm cannot divide."""
    counts = layout.in_channels, layout.out_channels
    if not set(counts) <= {layout.channels, 2 * layout.channels}:
        raise BadInput(
            f"has {counts[0]} input and {counts[1]} output channels. "
            "Only images of 1 (grayscale) or 3 (color) channels are supported."
        )
    if layout.model_channels < 2 or any(width % GROUPS or not width for width in layout.widths):
        widths = ", ".join(map(str, layout.widths))
        raise BadInput(f"has levels of {widths} channels, which are not multiples of {GROUPS}. {SUPPORTED}.")
