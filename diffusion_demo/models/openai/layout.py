"""What the names and shapes of a U-Net's tensors say, in the files of improved-diffusion and guided-diffusion (OpenAI).

input_blocks.0.0 is the first convolution. Every level then has `blocks` residual blocks, input_blocks.N.0, with attention in input_blocks.N.1
where the level has it, and all but the last end in one more that halves the image: a convolution (N.0.op) or a residual block. output_blocks
go the same way back with blocks + 1 a level, the last of which also doubles the image (M.1 or, after attention, M.2). Halving and doubling
residual blocks pool without weights, so only the doubling ones can be told by their place, and they tell how many blocks a level has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from diffusion_demo.errors import BadInput

GROUPS = 32
ESSENTIAL = ("time_embed.0.weight", "time_embed.2.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight")
WANTED = "what can be imported is a U-Net of guided-diffusion or improved-diffusion (model*.pt or ema_*.pt) or a noisy classifier of guided-diffusion"
LOOKALIKES = {
    "param_groups": "holds an optimizer's state",
    "transformer_blocks": "is a latent diffusion model with cross-attention, as Stable Diffusion",
    "first_stage_model": "is a latent diffusion model, as Stable Diffusion",
    "model.diffusion_model": "is a latent diffusion model, as Stable Diffusion",
    "down_blocks": "has the names of diffusers, which are not OpenAI's",
}


@dataclass(frozen=True)
class Layout:
    """A U-Net's sizes: widths and attention by level, `blocks` residual blocks each; model_channels is the width of the sinusoids of t."""

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
        """The images' own: the network is given once or twice as many (a small image beside), and answers once or twice as many."""
        return 1 if self.in_channels < 3 else 3

    @property
    def learns_variance(self) -> bool:
        return self.out_channels == 2 * self.channels

    @property
    def is_upsampler(self) -> bool:
        """Is it given the small image, enlarged, in a second half of its input channels? (SuperResModel)"""
        return self.in_channels == 2 * self.channels

    @property
    def attention_widths(self) -> tuple[int, ...]:
        """The widths at which there is attention; the middle block always has it."""
        return (
            *(width for width, attends in zip(self.widths, self.attention, strict=True) if attends),
            self.widths[-1],
        )


def read_layout(tensors: Mapping[str, Tensor]) -> Layout:
    """The layout that the names and shapes of `tensors` say. Raises BadInput, without the file's name before it, for any other network.

    It trusts the first block of each level for the others: whether they agree is seen when the weights are put into a network.
    """
    refuse_others(tensors, (*ESSENTIAL, "out.2.weight"))
    shape = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    inputs, outputs = count_blocks(shape, "input_blocks"), count_blocks(shape, "output_blocks")
    doubling = [
        m
        for m in range(outputs)
        if any(f"output_blocks.{m}.{n}.{w}.weight" in shape for n in (1, 2) for w in ("conv", "in_layers.0"))
    ]
    per_level = doubling[0] + 1 if doubling else outputs
    levels, rest = divmod(outputs, per_level)
    if rest or inputs != outputs or per_level < 2 or doubling != [per_level * (k + 1) - 1 for k in range(levels - 1)]:
        raise BadInput(
            f"does not halve and double the image as often, with weights of its own, at the end of every level; {WANTED}."
        )
    firsts = [f"input_blocks.{per_level * level + 1}" for level in range(levels)]
    layout = Layout(
        model_channels=shape["time_embed.0.weight"][1],
        widths=tuple(shape[f"{first}.0.out_layers.3.weight"][0] for first in firsts),
        blocks=per_level - 1,
        attention=tuple(f"{first}.1.qkv.weight" in shape for first in firsts),
        in_channels=shape["input_blocks.0.0.weight"][1],
        out_channels=shape["out.2.weight"][0],
        classes=(shape.get("label_emb.weight") or (0,))[0],
        scale_shift=shape[f"{firsts[0]}.0.emb_layers.1.weight"][0]
        == 2 * shape[f"{firsts[0]}.0.out_layers.3.weight"][0],
        resblock_updown=levels > 1 and f"input_blocks.{per_level}.0.in_layers.0.weight" in shape,
    )
    check_sizes(layout)
    return layout


def refuse_others(tensors: Mapping[str, Tensor], essential: tuple[str, ...] = ESSENTIAL) -> None:
    """Raise BadInput for tensors of something else, and where one that is essential is missing or no matrix."""
    for word, what in LOOKALIKES.items():
        if any(word in str(name) for name in tensors):
            raise BadInput(f"{what}; {WANTED}.")
    if not tensors or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()):
        raise BadInput(f"is no table of named tensors; {WANTED}.")
    if missing := [name for name in essential if name not in tensors or tensors[name].ndim < 2]:
        raise BadInput(f"has no usable tensor {missing[0]}; {WANTED}.")


def count_blocks(shape: Mapping[str, tuple[int, ...]], side: str) -> int:
    """How many blocks a side has, of which none may be without weights, each beginning with the residual block that is expected there."""
    found = {int(match[1]) for name in shape if (match := re.match(rf"{side}\.(\d{{1,4}})\.", name))}
    if found != set(range(len(found))):
        gap = min(set(range(max(found))) - found)
        raise BadInput(
            f"has no weights in {side}.{gap}: it pools without a convolution (conv_resample False), which UNet2DModel cannot hold."
        )
    leaves = ("in_layers.2", "out_layers.3", "emb_layers.1")
    for n in range(1 if side == "input_blocks" else 0, len(found)):
        if f"{side}.{n}.0.op.weight" in shape:
            continue
        if missing := [leaf for leaf in leaves if len(shape.get(f"{side}.{n}.0.{leaf}.weight", ())) < 2]:
            raise BadInput(f"has no usable tensor {side}.{n}.0.{missing[0]}.weight; {WANTED}.")
    return len(found)


def check_sizes(layout: Layout) -> None:
    """Raise BadInput for numbers of channels that no image has, or that do not fall into groups."""
    counts = layout.in_channels, layout.out_channels
    if not set(counts) <= {layout.channels, 2 * layout.channels}:
        raise BadInput(
            f"takes {counts[0]} channels and answers {counts[1]}; only images of 1 (grayscale) or 3 (color) can be made here."
        )
    if layout.model_channels < 2 or any(width % GROUPS or not width for width in layout.widths):
        raise BadInput(
            f"has levels of {', '.join(map(str, layout.widths))} channels, which do not fall into {GROUPS} groups; {WANTED}."
        )
