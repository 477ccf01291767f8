"""The three papers' networks by name: layouts, heads and chains as released, and how many parameters that makes.

Sources: the flags that improved-diffusion and guided-diffusion were released with; Guided Diffusion tables 11 to 14; the DDPM code.
"""

from dataclasses import dataclass, replace

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
class Released:
    """One of OpenAI's networks: its layout, and what no tensor of it tells."""

    layout: Layout | ClassifierLayout
    heads: Heads
    image_size: int
    beta_schedule: str
    num_train_timesteps: int
    new_attention_order: bool = False
    rescale_timesteps: bool = False

    @property
    def options(self) -> str:
        """The options of `import` that say so."""
        heads = (
            f"--num-head-channels {self.heads.channels}" if self.heads.channels else f"--num-heads {self.heads.count}"
        )
        flags = "".join(
            f" --{name.replace('_', '-')}"
            for name in ("new_attention_order", "rescale_timesteps")
            if getattr(self, name)
        )
        chain = f"--beta-schedule {self.beta_schedule} --num-train-timesteps {self.num_train_timesteps}"
        return f"{heads}{flags} {chain} --image-size {self.image_size}"


def _layout(
    image_size: int, width: int, multipliers: tuple[float, ...], blocks: int, attention_sides: tuple[int, ...], **more
) -> Layout:
    """model_channels = width; each level after the first halves the image; attention where its side is one of attention_sides."""
    widths = tuple(int(width * multiplier) for multiplier in multipliers)
    attention = tuple(image_size >> level in attention_sides for level in range(len(widths)))
    return Layout(width, widths, blocks, attention, **{"in_channels": 3, "out_channels": 6} | more)


def _iddpm(image_size: int, width: int, multipliers: tuple[float, ...], **more) -> Layout:
    return _layout(image_size, width, multipliers, 3, (16, 8), **more)


def _adm(
    image_size: int,
    width: int,
    multipliers: tuple[float, ...],
    blocks: int = 2,
    sides: tuple[int, ...] = (32, 16, 8),
    **more,
) -> Layout:
    return _layout(image_size, width, multipliers, blocks, sides, **{"resblock_updown": True, "classes": 1000} | more)


def _classifier(image_size: int, beta_schedule: str, blocks: int = 2) -> Released:
    trunk = _layout(image_size, 128, BY_SIZE[image_size], blocks, (32, 16, 8), out_channels=3, resblock_updown=True)
    return Released(
        ClassifierLayout(trunk, "attention", 1000, image_size), Heads(channels=64), image_size, beta_schedule, 1000
    )


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
    "iddpm-32": Released(_iddpm(32, 128, BY_SIZE[32]), Heads(4), 32, COSINE, 4000, rescale_timesteps=True),
    "iddpm-64": Released(_iddpm(64, 128, BY_SIZE[64]), Heads(4), 64, COSINE, 4000, rescale_timesteps=True),
    "iddpm-64-classes": Released(_iddpm(64, 192, BY_SIZE[64], classes=1000), Heads(4), 64, COSINE, 4000),
    "iddpm-64-256-upsampler": Released(_UPSAMPLER, Heads(4), 256, "linear", 4000),
    "iddpm-256-lsun": Released(_LSUN, Heads(1), 256, "linear", 1000),
    "adm-64": Released(
        _adm(64, 192, BY_SIZE[64], blocks=3), Heads(channels=64), 64, COSINE, 1000, new_attention_order=True
    ),
    "adm-128": Released(_adm(128, 256, BY_SIZE[128]), Heads(4), 128, "linear", 1000),
    "adm-256": Released(_adm(256, 256, BY_SIZE[256]), Heads(channels=64), 256, "linear", 1000),
    "adm-256-unconditional": Released(_adm(256, 256, BY_SIZE[256], classes=0), Heads(channels=64), 256, "linear", 1000),
    "adm-512": Released(_adm(512, 256, BY_SIZE[512]), Heads(channels=64), 512, "linear", 1000),
    "adm-64-256-upsampler": Released(_adm(256, 192, BY_SIZE[256], in_channels=6), Heads(4), 256, "linear", 1000),
    "adm-128-512-upsampler": Released(
        _adm(512, 192, BY_SIZE[256], in_channels=6), Heads(channels=64), 512, "linear", 1000
    ),
}

CLASSIFIERS = {
    "adm-64-classifier": _classifier(64, COSINE, blocks=4),
    "adm-128-classifier": _classifier(128, "linear"),
    "adm-256-classifier": _classifier(256, "linear"),
    "adm-512-classifier": _classifier(512, "linear"),
}

_HO = {"downsample_padding": 0, "freq_shift": 1, "flip_sin_to_cos": False, "norm_eps": 1e-6, "attention_head_dim": None}
# image size, widths, the level with attention
DDPM = {"ddpm-32": (32, (128, 256, 256, 256), 1), "ddpm-256": (256, (128, 128, 256, 256, 512, 512), 4)}
NAMES = (*DDPM, *RELEASED, *CLASSIFIERS)


def _ho_network(image_size: int, widths: tuple[int, ...], attending: int) -> UNet2DModel:
    """google/ddpm-cifar10-32 and google/ddpm-celebahq-256 as the Hub has them, from Ho's code."""
    down = ["AttnDownBlock2D" if level == attending else "DownBlock2D" for level in range(len(widths))]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    return UNet2DModel(
        sample_size=image_size, block_out_channels=widths, down_block_types=down, up_block_types=up, **_HO
    )


def named_network(name: str, device: torch.device | str = "cpu") -> UNet2DModel | Classifier:
    """The paper's network of that name, one of NAMES, with its first weights; on the device "meta" without any."""
    if name not in NAMES:
        raise BadInput(f"There is no network {name!r}; choose one of {', '.join(NAMES)}.")
    with torch.device(device):
        if name in DDPM:
            return _ho_network(*DDPM[name])
        if name in CLASSIFIERS:
            found = CLASSIFIERS[name]
            return build_openai_classifier(
                found.layout, found.heads, found.image_size, tuple(map(str, range(found.layout.classes)))
            )
        return build_network(RELEASED[name].layout, RELEASED[name].heads, RELEASED[name].image_size)


def build_paper_network(
    name: str,
    image_size: int,
    channels: int,
    learns_variance: bool,
    num_classes: int,
    dropout: float,
    is_upsampler: bool,
) -> UNet2DModel:
    """OpenAI's U-Net of that name, one of RELEASED, for other images and classes, zeroed where theirs begins at zero; with a null class after them.

    Raises BadInput where the images' size is not the one that its levels and its attention were made for.
    """
    released = RELEASED[name]
    if image_size != released.image_size:
        raise BadInput(
            f"The network {name} is made for {released.image_size} pixels, not {image_size}; set the image size to it.",
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


def match_released(layout: Layout | ClassifierLayout) -> tuple[str, Released] | None:
    """The released network of that layout, and its name."""
    return next(
        ((name, released) for name, released in (RELEASED | CLASSIFIERS).items() if released.layout == layout), None
    )
