"""The noisy classifier of guided-diffusion (EncoderUNetModel): its layout read from tensor names and shapes, and its weights under our names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.models.classifier import HEAD_CHANNELS, Classifier, trunk_config
from diffusion_demo.models.openai.layout import WANTED, Layout, check_sizes, count_blocks, refuse_others
from diffusion_demo.models.openai.network import Heads, build_network
from diffusion_demo.models.openai.weights import module_names, renamed

# OpenAI's modules of each pool's head, the last of which makes the logits -> a Classifier's.
HEADS = {
    "attention": {"out.0": "norm", "out.2": "head", "out.2.qkv_proj": "head.qkv", "out.2.c_proj": "head.proj"},
    "adaptive": {"out.0": "norm", "out.3": "head"},
    "spatial": {"out.0": "head.0", "out.2": "head.2"},
    "spatial_v2": {"out.0": "head.0", "out.1": "head.1", "out.3": "head.3"},
}


@dataclass(frozen=True)
class ClassifierLayout:
    """trunk: the sizes of the downward half; image_size: the only one that an attention pool holds for, None with the other pools."""

    trunk: Layout
    pool: str
    classes: int
    image_size: int | None = None


def build_openai_classifier(
    layout: ClassifierLayout, heads: Heads, image_size: int, class_names: tuple[str, ...], time_scale: float = 1.0
) -> Classifier:
    """A classifier of that layout. Raises BadInput, without the file's name before it, where the heads do not divide the widths."""
    trunk = trunk_config(build_network(layout.trunk, heads, image_size, time_scale))
    return Classifier(
        trunk=trunk, class_names=list(class_names), pool=layout.pool, head_channels=heads.channels or HEAD_CHANNELS
    )


def classifier_weights(
    tensors: Mapping[str, Tensor], layout: ClassifierLayout, heads: Heads, new_order: bool
) -> dict[str, Tensor]:
    """The same weights in float32 under a Classifier's names. The order of q, k and v is told for the trunk: in the attention pool it is the new one.

    Raises BadInput, without the file's name before it, for a tensor out of place.
    """
    names = {old: new for old, new in module_names(layout.trunk).items() if not old.startswith("out")} | HEADS[
        layout.pool
    ]
    weights = renamed(tensors, names, heads, new_order)
    if layout.pool == "adaptive":  # a convolution of width 1 over what is one pixel by then
        weights["head.weight"] = weights["head.weight"].flatten(1)
    return weights


LOGITS_NDIM = {"attention": 3, "adaptive": 4, "spatial": 2, "spatial_v2": 2}
PLACES = "out.2.positional_embedding"


def is_classifier(tensors: Mapping[str, Tensor]) -> bool:
    """Is there a way down, but no way back up?"""
    return "time_embed.0.weight" in tensors and not any(str(name).startswith("output_blocks.") for name in tensors)


def read_classifier_layout(
    tensors: Mapping[str, Tensor], image_size: int | None = None, blocks: int | None = None
) -> ClassifierLayout:
    """The layout that names and shapes say, with what is told of it. Raises BadInput, without the file's name before it, for what cannot be read."""
    refuse_others(tensors)
    shape = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    pool = _pool(shape)
    side = _side(shape) if pool == "attention" else None
    found = [_block(shape, f"input_blocks.{n}") for n in range(1, count_blocks(shape, "input_blocks"))]
    rows = _rows(found, side, image_size, blocks)
    firsts, channels = found[::rows], shape["input_blocks.0.0.weight"][1]
    trunk = Layout(
        model_channels=shape["time_embed.0.weight"][1],
        widths=tuple(block.width for block in firsts),
        blocks=rows - 1,
        attention=tuple(block.attends for block in firsts),
        in_channels=channels,
        out_channels=channels,
        scale_shift=shape["input_blocks.1.0.emb_layers.1.weight"][0] == 2 * firsts[0].width,
        resblock_updown=len(firsts) > 1 and not found[rows - 1].is_convolution,
    )
    check_sizes(trunk)
    if trunk.is_upsampler:
        raise BadInput(f"takes {channels} channels; only images of 1 (grayscale) or 3 (color) can be classified here.")
    *_, logits = HEADS[pool]
    return ClassifierLayout(trunk, pool, shape[f"{logits}.weight"][0], side and side << (len(firsts) - 1))


def _pool(shape: Mapping[str, tuple[int, ...]]) -> str:
    found = {name.rpartition(".")[0] for name in shape if name.startswith("out.")}
    for pool, names in HEADS.items():
        if found == names.keys() and len(shape.get(f"{list(names)[-1]}.weight", ())) == LOGITS_NDIM[pool]:
            return pool
    raise BadInput(
        f"has no way back up, as a noisy classifier, but ends in none of the pools {', '.join(HEADS)}; {WANTED}."
    )


def _side(shape: Mapping[str, tuple[int, ...]]) -> int:
    """Pixels a side where the attention pool is: each has its place, and so has their mean."""
    places = max((shape.get(PLACES) or (0,))[-1] - 1, 0)
    side = round(places**0.5)
    if side < 1 or side**2 != places:
        raise BadInput(
            f"has an attention pool for {places} pixels, which are no square, so it cannot be a classifier of square images."
        )
    return side


class _Block(NamedTuple):
    width: int
    attends: bool
    is_convolution: bool


def _block(shape: Mapping[str, tuple[int, ...]], name: str) -> _Block:
    width = (shape.get(f"{name}.0.out_layers.3.weight") or (0,))[0]
    return _Block(width, f"{name}.1.qkv.weight" in shape, f"{name}.0.op.weight" in shape)


def _rows(found: list[_Block], side: int | None, image_size: int | None, blocks: int | None) -> int:
    """How many blocks a level has together with the one after it, which halves; the last level has none."""
    count = len(found) + 1
    fitting = [rows for rows in range(2, count + 1) if count % rows == 0 and _fits(found, rows)]
    if not fitting:
        raise BadInput(f"has levels that are not all built alike; {WANTED}.")
    sizes = {rows: side << (count // rows - 1) for rows in fitting} if side else {}
    told = [rows for rows in fitting if blocks in (None, rows - 1) and (not sizes or image_size in (None, sizes[rows]))]
    if len(told) == 1:
        return told[0]
    ways = [
        f"--num-res-blocks {rows - 1}{f' (images of {sizes[rows]}x{sizes[rows]})' if sizes else ''}"
        for rows in told or fitting
    ]
    raise BadInput(
        f"can be read in {len(ways)} ways; give as well {' or '.join(ways)}."
        if told
        else f"can only have {' or '.join(ways)}."
    )


def _fits(found: list[_Block], rows: int) -> bool:
    """Are the blocks of every level alike, and those between levels such as can halve, all in the same way?"""
    levels = [found[start : start + rows] for start in range(0, len(found), rows)]
    halving = [(level[0], level[-1]) for level in levels[:-1]]
    return (
        all(len(set(level[: rows - 1])) == 1 and not level[0].is_convolution for level in levels)
        and all(not last.attends and (last.is_convolution or last.width == first.width) for first, last in halving)
        and len({last.is_convolution for _, last in halving}) < 2
    )
