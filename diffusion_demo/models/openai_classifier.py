"""A noisy classifier of guided-diffusion (OpenAI's EncoderUNetModel): its layout, the Classifier of that layout, and its weights under our names."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from diffusion_demo.models.classifier import HEAD_CHANNELS, Classifier, trunk_of
from diffusion_demo.models.openai_layout import Layout
from diffusion_demo.models.openai_network import Heads, build_network
from diffusion_demo.models.openai_weights import module_names, renamed

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
    trunk = trunk_of(build_network(layout.trunk, heads, image_size, time_scale))
    return Classifier(trunk=trunk, class_names=list(class_names), pool=layout.pool, head_channels=heads.channels or HEAD_CHANNELS)


def classifier_weights(tensors: Mapping[str, Tensor], layout: ClassifierLayout, heads: Heads, new_order: bool) -> dict[str, Tensor]:
    """The same weights in float32 under a Classifier's names. The order of q, k and v is told for the trunk: in the attention pool it is the new one.

    Raises BadInput, without the file's name before it, for a tensor out of place.
    """
    names = {old: new for old, new in module_names(layout.trunk).items() if not old.startswith("out")} | HEADS[layout.pool]
    weights = renamed(tensors, names, heads, new_order)
    if layout.pool == "adaptive":  # a convolution of width 1 over what is one pixel by then
        weights["head.weight"] = weights["head.weight"].flatten(1)
    return weights
