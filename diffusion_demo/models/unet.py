"""UNet2DModel: presets, valid sizes, initialization, and the adapter that makes a denoiser of it."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from diffusion_demo.diffusion.process import Denoiser
from diffusion_demo.errors import BadInput


@dataclass(frozen=True)
class Preset:
    """Widths per level (each level after the first halves the image), residual blocks per level, and the sides that get attention.

    The lowest level always does.
    """

    widths: tuple[int, ...]
    blocks: int
    attention_sides: tuple[int, ...]
    dropout: float = 0.1


PRESETS = {
    "tiny": Preset((32, 64, 96), 1, (8,)),
    "small": Preset((32, 80, 160), 1, (8,)),
    "medium": Preset((64, 128, 192), 2, (16, 8)),
}


def build_unet(
    preset: str,
    image_size: int,
    channels: int,
    learns_variance: bool,
    num_classes: int,
    dropout: float | None = None,
    is_upsampler: bool = False,
) -> UNet2DModel:
    """A freshly initialized network for square images; num_classes named classes and, if there are any, a null class after them.

    One that enlarges takes the small image in a second half of its input channels (the papers' code: SuperResModel).

    Scale-shift normalization (Improved DDPM section 3, ADM's AdaGN) and attention heads of at most 32 channels. Raises BadInput for a size
    that the levels do not divide.
    """
    if preset not in PRESETS:
        raise BadInput(
            f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}, or a paper's U-Net such as adm-64.",
            "preset",
        )
    shape = PRESETS[preset]
    check_image_size(image_size, levels=len(shape.widths))
    lowest = len(shape.widths) - 1
    attends = [level == lowest or image_size >> level in shape.attention_sides for level in range(lowest + 1)]
    unet = UNet2DModel(
        sample_size=image_size,
        in_channels=channels * (2 if is_upsampler else 1),
        out_channels=channels * (2 if learns_variance else 1),
        block_out_channels=shape.widths,
        layers_per_block=shape.blocks,
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=32,
        norm_num_groups=16,
        attn_norm_num_groups=16,
        norm_eps=1e-5,
        flip_sin_to_cos=True,
        freq_shift=0,
        dropout=shape.dropout if dropout is None else dropout,
        num_class_embeds=num_classes + 1 if num_classes else None,
    )
    zero_outputs(unet)
    return unet


def check_image_size(image_size: int, levels: int) -> None:
    """Raise BadInput, naming the nearest valid sizes, unless every level halves evenly and the lowest is at least 4 pixels wide."""
    step = 2 ** (levels - 1)
    if image_size % step or image_size < 4 * step:
        below = max(image_size // step, 4) * step
        raise BadInput(
            f"An image size of {image_size} does not fit {levels} levels; the nearest that do are {below} and {below + step}.",
            "image_size",
        )


def zero_outputs(unet: UNet2DModel) -> None:
    """Zero the last layer of every residual and attention block and of the network, so that it starts by answering 0.

    DDPM and Improved DDPM code (zero_module); UNet2DModel itself does not.
    """
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "to_out.0")) or name == "conv_out":
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def as_denoiser(unet: nn.Module, precision: str, small: Tensor | None = None) -> Denoiser:
    """model(xt, t, class_labels=None) -> float32 tensor, computed under bf16 autocast or in fp32.

    `small`, float [N, C, s, s] in [-1, 1], are the images that an upsampler enlarges: it is given them beside x_t, bilinearly enlarged, as in the
    papers' code. Raises BadInput for an upsampler without, and for another model with them.
    """
    device, config = unet.device.type, getattr(unet, "config", {})
    if (config.get("in_channels", 3) in (1, 3)) != (small is None):
        what = (
            "an upsampler: give it small images to enlarge"
            if small is None
            else "no upsampler, so it cannot enlarge images"
        )
        raise BadInput(f"This model is {what}.")

    def denoise(xt: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        if small is not None:
            xt = concat_low_res(xt, small.repeat(len(xt) // len(small), 1, 1, 1))
        with torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext():
            return unet(xt, t, class_labels=class_labels, return_dict=False)[0].float()

    return denoise


def concat_low_res(xt: Tensor, small: Tensor) -> Tensor:
    """x_t [N, C, S, S] and after it the small images [N, C, s, s], bilinearly enlarged: what an upsampler sees, [N, 2C, S, S]."""
    return torch.cat([xt, nn.functional.interpolate(small, xt.shape[-2:], mode="bilinear")], dim=1)
