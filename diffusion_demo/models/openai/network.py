"""The UNet2DModel of a layout; and the class of our own that holds what UNet2DModel's constructor cannot say."""

import inspect
from dataclasses import dataclass
from pathlib import Path

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.layout import GROUPS, Layout

MARK = "OpenAI"


@dataclass(frozen=True)
class Heads:
    """How attention is split into heads, which no tensor tells: `channels` a head or, without it, a `count`, perhaps another one on the way up."""

    count: int | None = None
    count_upsample: int | None = None
    channels: int | None = None

    def of(self, width: int, up: bool = False) -> int:
        """The number of heads of attention of that width, on the way up or elsewhere. Raises BadInput where they do not divide it."""
        count = (self.count_upsample or self.count) if up else self.count
        parts = self.channels or count
        if parts is None or parts < 1 or width % parts:
            raise BadInput(
                f"attends with {width} channels, which cannot be split into heads {'of' if self.channels else 'by'} {parts}."
            )
        return width // parts if self.channels else parts


class OpenAIUNet2DModel(UNet2DModel):
    """A UNet2DModel with a number of heads that does not depend on the width, a first level narrower than the sinusoids of t, or a scale of t.

    num_heads           heads in every attention, whatever its width (UNet2DModel knows only one width for all heads)
    num_heads_upsample  another number on the way up
    model_channels      width of the sinusoids, where it is not the first level's (ADM-512: 256 and 128)
    time_scale          what t is multiplied by first: 1000/T where improved-diffusion rescaled timesteps

    Stock diffusers would ignore all four and answer nonsense: the marked names of the downward blocks make it stop instead.
    """

    def __init__(self, num_heads=None, num_heads_upsample=None, model_channels=None, time_scale=1.0, **settings):
        types = [name.removeprefix(MARK) for name in settings["down_block_types"]]
        super().__init__(**settings | {"down_block_types": types})
        own = {
            "num_heads": num_heads,
            "num_heads_upsample": num_heads_upsample,
            "model_channels": model_channels,
            "time_scale": time_scale,
        }
        self.register_to_config(down_block_types=[MARK + name for name in types], **own)
        width = model_channels or self.config.block_out_channels[0]
        self.time_proj = Timesteps(width, self.config.flip_sin_to_cos, self.config.freq_shift, time_scale)
        self.time_embedding = TimestepEmbedding(width, self.time_embedding.linear_2.out_features)
        if num_heads:
            self._split(Heads(num_heads, num_heads_upsample))

    def _split(self, heads: Heads) -> None:
        for name, module in self.named_modules():
            if isinstance(module, Attention):
                module.heads = module.sliceable_head_dim = heads.of(module.inner_dim, up=name.startswith("up_blocks"))
                module.scale = (module.inner_dim // module.heads) ** -0.5


def _signature() -> inspect.Signature:
    """Of OpenAIUNet2DModel's constructor, with UNet2DModel's arguments by name: from_config passes on only what it finds there."""
    own, theirs = (
        list(inspect.signature(kind.__init__).parameters.values()) for kind in (OpenAIUNet2DModel, UNet2DModel)
    )
    return inspect.Signature([*own[:-1], *theirs[1:]])


OpenAIUNet2DModel.__init__.__signature__ = _signature()


def network_class(folder: Path) -> type[UNet2DModel]:
    """Which class wrote the network in `folder`."""
    name = UNet2DModel.load_config(folder, local_files_only=True).get("_class_name")
    return OpenAIUNet2DModel if name == OpenAIUNet2DModel.__name__ else UNet2DModel


def read_network_class(config: dict) -> UNet2DModel:
    """A new network with the settings that one of the two classes has as its config: their names for the downward blocks tell which one."""
    own = any(name.startswith(MARK) for name in config["down_block_types"])
    return (OpenAIUNet2DModel if own else UNet2DModel)(**config)


def build_network(
    layout: Layout, heads: Heads, image_size: int | None = None, time_scale: float = 1.0, dropout: float = 0.0
) -> UNet2DModel:
    """A network of that layout: a UNet2DModel where one can say it all, else an OpenAIUNet2DModel."""
    settings = _settings(layout, image_size, dropout)
    width, own = _head_width(layout, heads), {}
    if width is None and heads.of(layout.widths[-1]) * heads.of(layout.widths[-1], up=True) > 1:
        own |= {"num_heads": heads.count, "num_heads_upsample": heads.count_upsample}
    if layout.model_channels != layout.widths[0]:
        own |= {"model_channels": layout.model_channels}
        settings |= {"time_embedding_dim": 4 * layout.model_channels}
    if time_scale != 1:
        own |= {"time_scale": time_scale}
    kind = OpenAIUNet2DModel if own else UNet2DModel
    return kind(**settings, attention_head_dim=width, **own)


def _settings(layout: Layout, image_size: int | None, dropout: float) -> dict:
    """UNet2DModel's arguments but those of the heads. Attention blocks are told how to halve and double by downsample_type, others by their names.

    attn_norm_num_groups: without it, scale-shift would leave the middle attention without a norm.
    """
    plain = (
        ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if layout.resblock_updown else ("DownBlock2D", "UpBlock2D")
    )
    sampling = "resnet" if layout.resblock_updown else "conv"
    return {
        "sample_size": image_size,
        "in_channels": layout.in_channels,
        "out_channels": layout.out_channels,
        "block_out_channels": layout.widths,
        "layers_per_block": layout.blocks,
        "down_block_types": ["AttnDownBlock2D" if attends else plain[0] for attends in layout.attention],
        "up_block_types": ["AttnUpBlock2D" if attends else plain[1] for attends in reversed(layout.attention)],
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
    """The one width of every head, as UNet2DModel has it; None where there is no such width, or one head as wide as its block."""
    ways_up = layout.attention_widths[:-1]
    found = {width // heads.of(width) for width in layout.attention_widths} | {
        width // heads.of(width, up=True) for width in ways_up
    }
    return found.pop() if len(found) == 1 else None
