"""The noisy classifier of guided-diffusion, from its description, under the names of the released state dicts: for tests alone.

Guided Diffusion section 4 and appendix; it is the downward half and the middle of that paper's U-Net, and a head. Every layer has random weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.models.openai.reference_unet import Settings, downward, randomised, sinusoids


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """As a U-Net's, of which classes, here the number of answers, and all but what concerns the way up count; and the head's."""

    classes: int = 5
    head_channels: int | None = 16
    residual_sampling: bool = True
    pool: str = "attention"
    image_size: int = 16

    @property
    def side(self) -> int:
        return self.image_size // 2 ** (len(self.multipliers) - 1)


class AttentionPool(nn.Module):
    """All pixels and, before them, their mean attend to one another; the mean's answer is the logits. q of all heads, then k, then v."""

    def __init__(self, s: ClassifierSettings, width: int):
        super().__init__()
        self.heads = width // s.head_channels
        self.positional_embedding = nn.Parameter(torch.randn(width, s.side**2 + 1))
        self.qkv_proj, self.c_proj = nn.Conv1d(width, 3 * width, 1), nn.Conv1d(width, s.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, width, *_ = x.shape
        x = x.reshape(n, width, -1)
        x = torch.cat([x.mean(-1, keepdim=True), x], dim=-1) + self.positional_embedding
        q, k, v = (rows.reshape(n * self.heads, width // self.heads, -1) for rows in self.qkv_proj(x).chunk(3, dim=1))
        scale = (width // self.heads) ** -0.25
        weights = torch.einsum("bct,bcs->bts", q * scale, k * scale).softmax(-1)
        mixed = torch.einsum("bts,bcs->bct", weights, v).reshape(n, width, -1)
        return self.c_proj(mixed)[:, :, 0]


class Encoder(nn.Module):
    """encoder(xt, t) -> logits [N, classes]."""

    def __init__(self, s: ClassifierSettings):
        super().__init__()
        self.settings = s
        self.time_embed = nn.Sequential(nn.Linear(s.width, 4 * s.width), nn.SiLU(), nn.Linear(4 * s.width, 4 * s.width))
        self.input_blocks, self.middle_block, widths = downward(s)
        width = widths[-1]
        self.out = nn.Sequential(*{
            "attention": lambda: (nn.GroupNorm(32, width), nn.SiLU(), AttentionPool(s, width)),
            "adaptive": lambda: (nn.GroupNorm(32, width), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, s.classes, 1), nn.Flatten()),
            "spatial": lambda: (nn.Linear(sum(widths) + width, 2048), nn.ReLU(), nn.Linear(2048, s.classes)),
            "spatial_v2": lambda: (nn.Linear(sum(widths) + width, 2048), nn.GroupNorm(32, 2048), nn.SiLU(), nn.Linear(2048, s.classes)),
        }[s.pool]())  # fmt: skip

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        emb = self.time_embed(sinusoids(t, self.settings.width).to(xt.dtype))
        h, seen = xt, []
        for parts in self.input_blocks:
            for part in parts:
                h = part(h, emb)
            seen.append(h.mean(dim=(2, 3)))
        for part in self.middle_block:
            h = part(h, emb)
        if self.settings.pool.startswith("spatial"):
            return self.out(torch.cat([*seen, h.mean(dim=(2, 3))], dim=1))
        return self.out(h)


def random_classifier(settings: ClassifierSettings, seed: int = 0) -> Encoder:
    """In eval mode, with random weights."""
    torch.manual_seed(seed)
    return randomised(Encoder(settings))
