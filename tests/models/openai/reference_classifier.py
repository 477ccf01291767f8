"""Reference implementation of guided-diffusion's noisy classifier, with the names of the released state dicts.

Guided Diffusion section 4 and appendix: the downward half and middle block of its U-Net, and a head. Only for tests;
written from the paper's description. All layers have random weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.models.openai.reference_unet import Settings, downward, randomize, sinusoids


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """The settings of a U-Net, without its upward half, and of the head. `classes` is the output size."""

    classes: int = 5
    head_channels: int | None = 16
    residual_sampling: bool = True
    pool: str = "attention"
    image_size: int = 16

    @property
    def side(self) -> int:
        return self.image_size // 2 ** (len(self.multipliers) - 1)


class AttentionPool(nn.Module):
    """Attention over the mean and all pixels, in the new order of q, k, v; the output at the mean gives the logits."""

    def __init__(self, s: ClassifierSettings, width: int):
        super().__init__()
        assert s.head_channels is not None
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
    """The classifier: encoder(xt, t) -> logits [N, classes]."""

    def __init__(self, s: ClassifierSettings):
        super().__init__()
        self.settings = s
        self.time_embed = nn.Sequential(nn.Linear(s.width, 4 * s.width), nn.SiLU(), nn.Linear(4 * s.width, 4 * s.width))
        self.input_blocks, self.middle_block, widths = downward(s)
        width = widths[-1]
        self.out = _head(s, width, sum(widths) + width)

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        emb = self.time_embed(sinusoids(t, self.settings.width).to(xt.dtype))
        h, means = xt, []
        for parts in self.input_blocks:
            assert isinstance(parts, nn.ModuleList)
            for part in parts:
                h = part(h, emb)
            means.append(h.mean(dim=(2, 3)))
        for part in self.middle_block:
            h = part(h, emb)
        if self.settings.pool.startswith("spatial"):
            return self.out(torch.cat([*means, h.mean(dim=(2, 3))], dim=1))
        return self.out(h)


def _head(s: ClassifierSettings, width: int, features: int) -> nn.Sequential:
    """Return the head for middle blocks of `width` channels; spatial heads take the `features` means of all blocks."""
    norm = nn.GroupNorm(32, width), nn.SiLU()
    if s.pool == "attention":
        return nn.Sequential(*norm, AttentionPool(s, width))
    if s.pool == "adaptive":
        return nn.Sequential(*norm, nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, s.classes, 1), nn.Flatten())
    if s.pool == "spatial":
        return nn.Sequential(nn.Linear(features, 2048), nn.ReLU(), nn.Linear(2048, s.classes))
    return nn.Sequential(nn.Linear(features, 2048), nn.GroupNorm(32, 2048), nn.SiLU(), nn.Linear(2048, s.classes))


def random_classifier(settings: ClassifierSettings, seed: int = 0) -> Encoder:
    """Return a classifier with random weights, in eval mode."""
    torch.manual_seed(seed)
    network = Encoder(settings)
    randomize(network)
    return network
