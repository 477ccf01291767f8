"""UNet2DModel: presets, valid image sizes, initialization, loading, and the denoiser interface."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import ModelMixin, UNet2DModel
from safetensors import SafetensorError
from torch import Tensor, nn

from diffusion_demo.diffusion.denoiser import Denoiser
from diffusion_demo.errors import BadInput
from diffusion_demo.models.config_limits import check_network
from diffusion_demo.models.weight_files import WeightFiles

LOAD_ERRORS = (
    AttributeError,
    OverflowError,
    RecursionError,
    OSError,
    SafetensorError,
    ValueError,
    TypeError,
    RuntimeError,
    KeyError,
)
Model = TypeVar("Model", bound=ModelMixin)


@dataclass(frozen=True)
class Preset:
    """Sizes of a U-Net.

    widths           channels per level; each level after the first halves the image
    blocks           residual blocks per level
    attention_sides  image sides, in pixels, at which there is attention; the lowest level always has it
    """

    widths: tuple[int, ...]
    blocks: int
    attention_sides: tuple[int, ...]
    dropout: float = 0.1


PRESETS = {
    "tiny": Preset((32, 64, 96), 1, (8,)),
    "small": Preset((64, 96, 128), 1, (8,)),
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
    """Return a freshly initialized network for square images, with a null class after `num_classes` named ones, if any.

    An upsampler has twice the input channels; the second half is the low-resolution image (SuperResModel in the papers'
    code). Scale-shift normalization (Improved DDPM section 3, ADM's AdaGN) and attention heads of at most 32 channels.

    Raises BadInput for an unknown preset and for an image size that the levels do not divide.
    """
    if preset not in PRESETS:
        names = ", ".join(PRESETS)
        raise BadInput(
            f"There is no preset {preset[:100]!r}. Choose one of {names}, or a paper's U-Net such as adm-64.", "preset"
        )
    sizes = PRESETS[preset]
    check_image_size(image_size, levels=len(sizes.widths))
    down, up = _block_types(sizes, image_size)
    unet = UNet2DModel(
        sample_size=image_size,
        in_channels=channels * (2 if is_upsampler else 1),
        out_channels=channels * (2 if learns_variance else 1),
        block_out_channels=sizes.widths,
        layers_per_block=sizes.blocks,
        down_block_types=down,  # pyright: ignore[reportArgumentType]  the config is saved with lists
        up_block_types=up,  # pyright: ignore[reportArgumentType]
        dropout=sizes.dropout if dropout is None else dropout,
        num_class_embeds=num_classes + 1 if num_classes else None,
        **_COMMON,
    )
    zero_outputs(unet)
    return unet


_COMMON: dict[str, Any] = {
    "resnet_time_scale_shift": "scale_shift",
    "attention_head_dim": 32,
    "norm_num_groups": 16,
    "attn_norm_num_groups": 16,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
}


def _block_types(sizes: Preset, image_size: int) -> tuple[list[str], list[str]]:
    """Return the names of the downward and of the upward blocks."""
    lowest = len(sizes.widths) - 1
    attends = [level == lowest or image_size >> level in sizes.attention_sides for level in range(lowest + 1)]
    down = ["AttnDownBlock2D" if a else "DownBlock2D" for a in attends]
    return down, ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)]


def check_image_size(image_size: int, levels: int) -> None:
    """Raise BadInput unless every level halves the image evenly and the lowest is at least 4 pixels wide."""
    step = 2 ** (levels - 1)
    if image_size % step or image_size < 4 * step:
        below = max(image_size // step, 4) * step
        raise BadInput(
            f"An image size of {image_size} does not fit {levels} levels. "
            f"The nearest valid sizes are {below} and {below + step}.",
            "image_size",
        )


def zero_outputs(network: nn.Module) -> None:
    """Zero the last layer of the network and of each residual and attention block, so that a fresh network outputs 0.

    As zero_module in the code of DDPM and Improved DDPM; UNet2DModel does not do this.
    """
    for name, module in network.named_modules():
        if name.endswith(("conv2", "to_out.0")) or name == "conv_out":
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def load_from_folder(kind: type[Model], folder: Path, weights: WeightFiles) -> Model:
    """Load a model of class `kind` from `folder` in float32, from safetensors only.

    Raises BadInput or ValueError for weights of another network, also for missing or unexpected ones, which diffusers
    only logs, and any of LOAD_ERRORS otherwise.
    """
    check_network(kind, folder, weights)
    model, info = kind.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]  a pair with output_loading_info
        folder,
        variant=weights.variant,
        torch_dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        low_cpu_mem_usage=False,
        output_loading_info=True,
    )
    if info["missing_keys"] or info["unexpected_keys"]:
        raise ValueError("missing or unexpected weights")
    return model


def forget_path(folder: Path) -> None:
    """Remove from a saved config.json the path that a network was loaded from, which diffusers writes into it."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    if config.pop("_name_or_path", None) is not None:
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def as_denoiser(unet: nn.Module, precision: str, small: Tensor | None = None) -> Denoiser:
    """Return model(xt, t, class_labels=None) -> float32 tensor, computed under bf16 autocast or in fp32.

    `small`, float [N, C, s, s] in [-1, 1], are the low-resolution inputs of an upsampler, which are concatenated to
    x_t after bilinear upscaling, as in the papers' code. Raises BadInput for an upsampler without `small`, and for any
    other model with it.
    """
    device, config = cast(torch.device, unet.device), getattr(unet, "config", {})
    if (config.get("in_channels", 3) in (1, 3)) != (small is None):
        raise BadInput(
            "This model is an upsampler, which only enlarges images. Choose another model and use this one as its "
            "upsampler."
            if small is None
            else "This model is not an upsampler, so it cannot enlarge images. Choose an upsampler."
        )

    def denoise(xt: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        if small is not None:
            xt = concat_low_res(xt, small.repeat(len(xt) // len(small), 1, 1, 1))
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            return unet(xt, t, class_labels=class_labels, return_dict=False)[0].float()

    return denoise


def concat_low_res(xt: Tensor, small: Tensor) -> Tensor:
    """Return an upsampler's input [N, 2C, S, S]: x_t [N, C, S, S], then `small` [N, C, s, s] upscaled bilinearly."""
    return torch.cat([xt, nn.functional.interpolate(small, xt.shape[-2:], mode="bilinear")], dim=1)
