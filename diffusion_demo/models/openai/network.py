"""Build the UNet2DModel of a layout, or OpenAIUNet2DModel where UNet2DModel's arguments cannot describe it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.layout import GROUPS, Layout

BLOCK_PREFIX = "OpenAI"  # of the names of the downward blocks in the config of an OpenAIUNet2DModel


@dataclass(frozen=True)
class Heads:
    """Number or width of the attention heads, which cannot be inferred from the tensors.

    count           heads per attention block; ignored if `channels` is set
    count_upsample  heads per attention block on the way up, if different
    channels        channels per head
    """

    count: int | None = None
    count_upsample: int | None = None
    channels: int | None = None

    def of(self, width: int, up: bool = False) -> int:
        """Return the number of heads of an attention block with `width` channels; `up` if it is on the way up.

        Raises BadInput if the heads do not divide the width.
        """
        count = (self.count_upsample or self.count) if up else self.count
        divisor = self.channels or count
        if divisor is None or divisor < 1 or width % divisor:
            heads = f"heads of {divisor} channels" if self.channels else f"{divisor} heads"
            raise BadInput(
                f"has attention with {width} channels, which cannot be split into {heads}. "
                "Check --num-heads and --num-head-channels."
            )
        return width // divisor if self.channels else divisor


class OpenAIUNet2DModel(UNet2DModel):
    """A UNet2DModel for the OpenAI networks that UNet2DModel's arguments cannot describe.

    num_heads           heads per attention block at every width (UNet2DModel has one head width for all blocks)
    num_heads_upsample  heads per attention block on the way up, if different
    model_channels      width of the sinusoidal embedding of t, if not the first level's (ADM-512: 256 and 128)
    time_scale          factor that multiplies t first: 1000/T if improved-diffusion rescaled timesteps

    Stock diffusers would ignore all four and compute wrong outputs. The prefixed names of the downward blocks make it
    raise an error instead.
    """

    def __init__(
        self,
        num_heads: int | None = None,
        num_heads_upsample: int | None = None,
        model_channels: int | None = None,
        time_scale: float = 1.0,
        **settings: Any,
    ):
        types = [name.removeprefix(BLOCK_PREFIX) for name in settings["down_block_types"]]
        settings["down_block_types"] = types
        super().__init__(**settings)
        self.register_to_config(
            down_block_types=[BLOCK_PREFIX + name for name in types],
            num_heads=num_heads,
            num_heads_upsample=num_heads_upsample,
            model_channels=model_channels,
            time_scale=time_scale,
        )
        config = self.config
        width = model_channels or config["block_out_channels"][0]
        self.time_proj = Timesteps(
            width,
            config["flip_sin_to_cos"],
            config["freq_shift"],
            time_scale,  # pyright: ignore[reportArgumentType]  a factor; diffusers' annotation, int, is too narrow
        )
        self.time_embedding = TimestepEmbedding(width, self.time_embedding.linear_2.out_features)
        if num_heads:
            self._set_heads(Heads(num_heads, num_heads_upsample))

    def _set_heads(self, heads: Heads) -> None:
        for name, module in self.named_modules():
            if isinstance(module, Attention):
                module.heads = module.sliceable_head_dim = heads.of(module.inner_dim, up=name.startswith("up_blocks"))
                module.scale = (module.inner_dim // module.heads) ** -0.5


def _full_signature() -> inspect.Signature:
    """Return the constructor's signature with UNet2DModel's arguments by name.

    ConfigMixin.from_config passes on only the arguments that it finds in the signature.
    """
    own, inherited = (
        list(inspect.signature(kind.__init__).parameters.values()) for kind in (OpenAIUNet2DModel, UNet2DModel)
    )
    return inspect.Signature([*own[:-1], *inherited[1:]])


OpenAIUNet2DModel.__init__.__signature__ = _full_signature()


def network_class(folder: Path) -> type[UNet2DModel]:
    """Return the class of the network saved in `folder`."""
    config = UNet2DModel.load_config(folder, local_files_only=True)
    if not isinstance(config, dict):
        raise ValueError("config.json is not an object")
    return OpenAIUNet2DModel if config.get("_class_name") == OpenAIUNet2DModel.__name__ else UNet2DModel


def network_from_config(config: Mapping[str, Any]) -> UNet2DModel:
    """Return a new network of the class whose config it is, which the names of the downward blocks tell."""
    prefixed = any(name.startswith(BLOCK_PREFIX) for name in config["down_block_types"])
    return (OpenAIUNet2DModel if prefixed else UNet2DModel)(**config)


def build_network(
    layout: Layout, heads: Heads, image_size: int | None = None, time_scale: float = 1.0, dropout: float = 0.0
) -> UNet2DModel:
    """Return a new network of a layout: a UNet2DModel if its arguments suffice, else an OpenAIUNet2DModel.

    Raises BadInput, with a message that lacks the file's name, if the heads do not divide the widths.
    """
    settings = _unet_settings(layout, image_size, dropout)
    head_width, own_settings = _head_width(layout, heads), {}
    if head_width is None and heads.of(layout.widths[-1]) * heads.of(layout.widths[-1], up=True) > 1:
        own_settings |= {"num_heads": heads.count, "num_heads_upsample": heads.count_upsample}
    if layout.model_channels != layout.widths[0]:
        own_settings |= {"model_channels": layout.model_channels}
        settings |= {"time_embedding_dim": 4 * layout.model_channels}
    if time_scale != 1:
        own_settings |= {"time_scale": time_scale}
    kind = OpenAIUNet2DModel if own_settings else UNet2DModel
    return kind(**settings, attention_head_dim=head_width, **own_settings)


def _unet_settings(layout: Layout, image_size: int | None, dropout: float) -> dict[str, Any]:
    """Return UNet2DModel's arguments except those of the heads.

    Attention blocks halve and double as downsample_type and upsample_type say, other blocks as their names say. Without
    attn_norm_num_groups, scale-shift would leave the attention of the middle block without a norm.
    """
    resnet = layout.resblock_updown
    down, up = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if resnet else ("DownBlock2D", "UpBlock2D")
    sampling = "resnet" if resnet else "conv"
    return {
        "sample_size": image_size,
        "in_channels": layout.in_channels,
        "out_channels": layout.out_channels,
        "block_out_channels": layout.widths,
        "layers_per_block": layout.blocks,
        "down_block_types": ["AttnDownBlock2D" if attends else down for attends in layout.attention],
        "up_block_types": ["AttnUpBlock2D" if attends else up for attends in reversed(layout.attention)],
        "downsample_type": sampling,
        "upsample_type": sampling,
        "downsample_padding": 1,
        "resnet_time_scale_shift": "scale_shift" if layout.scale_shift else "default",
        "norm_num_groups": GROUPS,
        "attn_norm_num_groups": GROUPS,
        "norm_eps": 1e-5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "dropout": dropout,
        "num_class_embeds": layout.classes or None,
    }


def _head_width(layout: Layout, heads: Heads) -> int | None:
    """Return the width that all heads share, as UNet2DModel requires, or None if there is no such width."""
    widths = {width // heads.of(width) for width in layout.attention_widths}
    widths |= {width // heads.of(width, up=True) for width in layout.attention_widths[:-1]}
    return widths.pop() if len(widths) == 1 else None
