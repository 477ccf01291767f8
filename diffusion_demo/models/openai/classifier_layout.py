"""Import the noisy classifier of guided-diffusion (EncoderUNetModel): infer its layout and rename its weights.

As in layout.py, the messages of BadInput lack their subject, the name of the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.models.classifier import HEAD_CHANNELS, Classifier, trunk_config
from diffusion_demo.models.openai.layout import SUPPORTED, Layout, check_sizes, count_blocks, reject_other_formats
from diffusion_demo.models.openai.network import Heads, build_network
from diffusion_demo.models.openai.weights import module_names, rename_tensors

# Per pool, OpenAI's module names of the head -> Classifier's. The last module computes the logits.
HEADS = {
    "attention": {"out.0": "norm", "out.2": "head", "out.2.qkv_proj": "head.qkv", "out.2.c_proj": "head.proj"},
    "adaptive": {"out.0": "norm", "out.3": "head"},
    "spatial": {"out.0": "head.0", "out.2": "head.2"},
    "spatial_v2": {"out.0": "head.0", "out.1": "head.1", "out.3": "head.3"},
}
LOGITS_NDIM = {"attention": 3, "adaptive": 4, "spatial": 2, "spatial_v2": 2}  # dimensions of the last module's weight
POSITIONS = "out.2.positional_embedding"


@dataclass(frozen=True)
class ClassifierLayout:
    """The sizes of a noisy classifier: its trunk, pool, number of classes, and image size.

    image_size is None unless the pool is "attention", which is fixed to one size.
    """

    trunk: Layout
    pool: str
    classes: int
    image_size: int | None = None


def build_openai_classifier(
    layout: ClassifierLayout, heads: Heads, image_size: int, class_names: tuple[str, ...], time_scale: float = 1.0
) -> Classifier:
    """Return a new classifier of a layout. Raises BadInput if the heads do not divide the widths."""
    trunk = trunk_config(build_network(layout.trunk, heads, image_size, time_scale))
    return Classifier(
        trunk=trunk, class_names=list(class_names), pool=layout.pool, head_channels=heads.channels or HEAD_CHANNELS
    )


def classifier_weights(
    tensors: Mapping[str, Tensor], layout: ClassifierLayout, heads: Heads, new_order: bool
) -> dict[str, Tensor]:
    """Return the weights in float32 under Classifier's names.

    `new_order` is the order of q, k and v in the trunk; the attention pool always has the new order. Raises BadInput
    for a tensor that does not belong to the network.
    """
    trunk = {old: new for old, new in module_names(layout.trunk).items() if not old.startswith("out")}
    weights = rename_tensors(tensors, trunk | HEADS[layout.pool], heads, new_order)
    if layout.pool == "adaptive":  # a 1x1 convolution on a single pixel; Classifier has a Linear
        weights["head.weight"] = weights["head.weight"].flatten(1)
    return weights


def is_classifier(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the tensors are those of a U-Net without output_blocks."""
    return "time_embed.0.weight" in tensors and not any(str(name).startswith("output_blocks.") for name in tensors)


def read_classifier_layout(
    tensors: Mapping[str, Tensor], image_size: int | None = None, blocks: int | None = None
) -> ClassifierLayout:
    """Return the layout of a noisy classifier.

    `image_size` and `blocks`, the number of residual blocks per level, select one if the tensors fit several layouts.
    Raises BadInput if no layout fits, or several do.
    """
    reject_other_formats(tensors)
    shape = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    pool = _pool(shape)
    side = _pool_side(shape) if pool == "attention" else None
    found = [_block(shape, f"input_blocks.{n}") for n in range(1, count_blocks(shape, "input_blocks"))]
    per_level = _blocks_per_level(found, side, image_size, blocks)
    firsts, channels = found[::per_level], shape["input_blocks.0.0.weight"][1]
    trunk = Layout(
        model_channels=shape["time_embed.0.weight"][1],
        widths=tuple(block.width for block in firsts),
        blocks=per_level - 1,
        attention=tuple(block.attends for block in firsts),
        in_channels=channels,
        out_channels=channels,
        scale_shift=shape["input_blocks.1.0.emb_layers.1.weight"][0] == 2 * firsts[0].width,
        resblock_updown=len(firsts) > 1 and not found[per_level - 1].is_convolution,
    )
    check_sizes(trunk)
    if trunk.is_upsampler:
        raise BadInput(f"takes {channels} channels. Only images of 1 (grayscale) or 3 (color) channels are supported.")
    *_, logits = HEADS[pool]
    return ClassifierLayout(trunk, pool, shape[f"{logits}.weight"][0], side and side << (len(firsts) - 1))


def _pool(shape: Mapping[str, tuple[int, ...]]) -> str:
    modules = {name.rpartition(".")[0] for name in shape if name.startswith("out.")}
    for pool, names in HEADS.items():
        if modules == names.keys() and len(shape.get(f"{list(names)[-1]}.weight", ())) == LOGITS_NDIM[pool]:
            return pool
    pools = ", ".join(HEADS)
    raise BadInput(
        f"has no output_blocks, as a noisy classifier, but its head is none of the pools {pools}. {SUPPORTED}."
    )


def _pool_side(shape: Mapping[str, tuple[int, ...]]) -> int:
    """Return the side of the attention pool's input. There is one position per pixel, and one for their mean."""
    pixels = max((shape.get(POSITIONS) or (0,))[-1] - 1, 0)
    side = round(pixels**0.5)
    if side < 1 or side**2 != pixels:
        raise BadInput(
            f"has an attention pool for {pixels} pixels, which is not a square number. "
            "Use a classifier of square images."
        )
    return side


class _Block(NamedTuple):
    width: int
    attends: bool
    is_convolution: bool


def _block(shape: Mapping[str, tuple[int, ...]], name: str) -> _Block:
    width = (shape.get(f"{name}.0.out_layers.3.weight") or (0,))[0]
    return _Block(width, f"{name}.1.qkv.weight" in shape, f"{name}.0.op.weight" in shape)


def _blocks_per_level(found: list[_Block], side: int | None, image_size: int | None, blocks: int | None) -> int:
    """Return the number of blocks per level, including the block that halves the image, which the last level lacks."""
    count = len(found) + 1
    possible = [n for n in range(2, count + 1) if count % n == 0 and _forms_levels(found, n)]
    if not possible:
        raise BadInput(f"has levels of different structure. {SUPPORTED}.")
    sizes = {n: side << (count // n - 1) for n in possible} if side else {}
    matching = [n for n in possible if blocks in (None, n - 1) and (not sizes or image_size in (None, sizes[n]))]
    if len(matching) == 1:
        return matching[0]
    choices = " or ".join(
        f"--num-res-blocks {n - 1}{f' (images of {sizes[n]}x{sizes[n]})' if sizes else ''}"
        for n in matching or possible
    )
    if matching:
        raise BadInput(f"fits {len(matching)} layouts. Add {choices}.")
    raise BadInput(f"contradicts the options: it only fits {choices}.")


def _forms_levels(found: list[_Block], per_level: int) -> bool:
    """Return whether the blocks form levels of `per_level` equal blocks.

    The last block of each level but the last must halve the image, by a convolution or a residual block in all levels.
    """
    levels = [found[start : start + per_level] for start in range(0, len(found), per_level)]
    halving = [(level[0], level[-1]) for level in levels[:-1]]
    return (
        all(len(set(level[: per_level - 1])) == 1 and not level[0].is_convolution for level in levels)
        and all(not last.attends and (last.is_convolution or last.width == first.width) for first, last in halving)
        and len({last.is_convolution for _, last in halving}) < 2
    )
