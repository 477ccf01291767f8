"""The networks of the three papers by name: layouts, attention heads and chains as released.

Sources: the flags published with improved-diffusion and guided-diffusion; Guided Diffusion tables 11 to 14; the DDPM
code.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import UNet2DModel

from diffusion_demo.errors import BadInput
from diffusion_demo.models.classifier import Classifier
from diffusion_demo.models.openai.classifier_layout import ClassifierLayout, build_openai_classifier
from diffusion_demo.models.openai.layout import Layout
from diffusion_demo.models.openai.network import Heads, build_network
from diffusion_demo.models.unet import zero_outputs

COSINE = "squaredcos_cap_v2"


@dataclass(frozen=True)
class ReleasedNetwork:
    """A network that OpenAI released: its layout, and the import options that its tensors do not tell."""

    layout: Layout | ClassifierLayout
    heads: Heads
    image_size: int
    beta_schedule: str
    num_train_timesteps: int
    new_attention_order: bool = False
    rescale_timesteps: bool = False
    small_size: int | None = None

    @property
    def options(self) -> str:
        """The command-line options of `import` for this network."""
        heads = self.heads
        split = f"--num-head-channels {heads.channels}" if heads.channels else f"--num-heads {heads.count}"
        flags = [
            f" --{name.replace('_', '-')}"
            for name in ("new_attention_order", "rescale_timesteps")
            if getattr(self, name)
        ]
        chain = f"--beta-schedule {self.beta_schedule} --num-train-timesteps {self.num_train_timesteps}"
        small = f" --small-size {self.small_size}" if self.small_size else ""
        return f"{split}{''.join(flags)} {chain} --image-size {self.image_size}{small}"


def _layout(
    image_size: int,
    width: int,
    multipliers: tuple[float, ...],
    blocks: int,
    attention_sides: tuple[int, ...],
    **settings: Any,
) -> Layout:
    """Return a layout with model_channels = width and attention where a level's side is in `attention_sides`."""
    widths = tuple(int(width * multiplier) for multiplier in multipliers)
    attention = tuple(image_size >> level in attention_sides for level in range(len(widths)))
    settings = {"in_channels": 3, "out_channels": 6} | settings
    return Layout(width, widths, blocks, attention, **settings)


def _iddpm(image_size: int, width: int, multipliers: tuple[float, ...], **settings: Any) -> Layout:
    return _layout(image_size, width, multipliers, 3, (16, 8), **settings)


def _adm(
    image_size: int,
    width: int,
    multipliers: tuple[float, ...],
    blocks: int = 2,
    attention_sides: tuple[int, ...] = (32, 16, 8),
    **settings: Any,
) -> Layout:
    settings = {"resblock_updown": True, "classes": 1000} | settings
    return _layout(image_size, width, multipliers, blocks, attention_sides, **settings)


def _classifier(image_size: int, beta_schedule: str, blocks: int = 2) -> ReleasedNetwork:
    trunk = _layout(image_size, 128, BY_SIZE[image_size], blocks, (32, 16, 8), out_channels=3, resblock_updown=True)
    layout = ClassifierLayout(trunk, "attention", 1000, image_size)
    return ReleasedNetwork(layout, Heads(channels=64), image_size, beta_schedule, 1000)


# Width multipliers per level, by image size.
BY_SIZE = {
    32: (1, 2, 2, 2),
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}
_LSUN = replace(_layout(256, 128, BY_SIZE[256], 2, (16,)), scale_shift=False)
_UPSAMPLER = _layout(256, 192, BY_SIZE[256], 2, (16, 8), in_channels=6, classes=1000)

RELEASED = {
    "iddpm-32": ReleasedNetwork(_iddpm(32, 128, BY_SIZE[32]), Heads(4), 32, COSINE, 4000, rescale_timesteps=True),
    "iddpm-64": ReleasedNetwork(_iddpm(64, 128, BY_SIZE[64]), Heads(4), 64, COSINE, 4000, rescale_timesteps=True),
    "iddpm-64-classes": ReleasedNetwork(_iddpm(64, 192, BY_SIZE[64], classes=1000), Heads(4), 64, COSINE, 4000),
    "iddpm-64-256-upsampler": ReleasedNetwork(_UPSAMPLER, Heads(4), 256, "linear", 4000, small_size=64),
    "iddpm-256-lsun": ReleasedNetwork(_LSUN, Heads(1), 256, "linear", 1000),
    "adm-64": ReleasedNetwork(
        _adm(64, 192, BY_SIZE[64], blocks=3), Heads(channels=64), 64, COSINE, 1000, new_attention_order=True
    ),
    "adm-128": ReleasedNetwork(_adm(128, 256, BY_SIZE[128]), Heads(4), 128, "linear", 1000),
    "adm-256": ReleasedNetwork(_adm(256, 256, BY_SIZE[256]), Heads(channels=64), 256, "linear", 1000),
    "adm-256-unconditional": ReleasedNetwork(
        _adm(256, 256, BY_SIZE[256], classes=0), Heads(channels=64), 256, "linear", 1000
    ),
    "adm-512": ReleasedNetwork(_adm(512, 256, BY_SIZE[512]), Heads(channels=64), 512, "linear", 1000),
    "adm-64-256-upsampler": ReleasedNetwork(
        _adm(256, 192, BY_SIZE[256], in_channels=6), Heads(4), 256, "linear", 1000, small_size=64
    ),
    "adm-128-512-upsampler": ReleasedNetwork(
        _adm(512, 192, BY_SIZE[256], in_channels=6), Heads(channels=64), 512, "linear", 1000, small_size=128
    ),
}

CLASSIFIERS = {
    "adm-64-classifier": _classifier(64, COSINE, blocks=4),
    "adm-128-classifier": _classifier(128, "linear"),
    "adm-256-classifier": _classifier(256, "linear"),
    "adm-512-classifier": _classifier(512, "linear"),
}

_DDPM_SETTINGS = {
    "downsample_padding": 0,
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
# name -> image size, widths, index of the level with attention
DDPM = {"ddpm-32": (32, (128, 256, 256, 256), 1), "ddpm-256": (256, (128, 128, 256, 256, 512, 512), 4)}
NAMES = (*DDPM, *RELEASED, *CLASSIFIERS)


def _ddpm_network(image_size: int, widths: tuple[int, ...], attending: int) -> UNet2DModel:
    """Return google/ddpm-cifar10-32 or google/ddpm-celebahq-256 as on the Hub, converted from the DDPM code."""
    down = ["AttnDownBlock2D" if level == attending else "DownBlock2D" for level in range(len(widths))]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    settings: dict[str, Any] = {"down_block_types": down, "up_block_types": up, **_DDPM_SETTINGS}
    return UNet2DModel(sample_size=image_size, block_out_channels=widths, **settings)


def named_network(name: str, device: torch.device | str = "cpu") -> UNet2DModel | Classifier:
    """Return the freshly initialized network called `name`, one of NAMES; on the device "meta", without weights."""
    if name not in NAMES:
        raise BadInput(f"There is no network {name!r}. Choose one of {', '.join(NAMES)}.")
    with torch.device(device):
        if name in DDPM:
            return _ddpm_network(*DDPM[name])
        released = (RELEASED | CLASSIFIERS)[name]
        if isinstance(released.layout, ClassifierLayout):
            names = tuple(map(str, range(released.layout.classes)))
            return build_openai_classifier(released.layout, released.heads, released.image_size, names)
        return build_network(released.layout, released.heads, released.image_size)


def build_paper_network(
    name: str,
    image_size: int,
    channels: int,
    learns_variance: bool,
    num_classes: int,
    dropout: float,
    is_upsampler: bool,
) -> UNet2DModel:
    """Return a freshly initialized U-Net called `name`, one of RELEASED, for other channels and classes.

    The layers that OpenAI's code zeroes are zero. If there are classes, a null class follows them. Raises BadInput if
    `image_size` is not the size that the levels and their attention were designed for.
    """
    released = RELEASED[name]
    assert isinstance(released.layout, Layout)
    if image_size != released.image_size:
        size = released.image_size
        raise BadInput(
            f"The network {name} works on images of {size} pixels, not {image_size}. Set the image size to {size}.",
            "image_size",
        )
    layout = replace(
        released.layout,
        in_channels=channels * (2 if is_upsampler else 1),
        out_channels=channels * (2 if learns_variance else 1),
        classes=num_classes + 1 if num_classes else 0,
    )
    unet = build_network(layout, released.heads, image_size, dropout=dropout)
    zero_outputs(unet)
    return unet


def match_released(layout: Layout | ClassifierLayout) -> tuple[str, ReleasedNetwork] | None:
    """Return the name and the released network that has this layout, or None."""
    candidates = (RELEASED | CLASSIFIERS).items()
    return next(((name, released) for name, released in candidates if released.layout == layout), None)
