"""Output heads of the noisy classifier. Guided Diffusion section 4; the pool names are those of its code."""

import torch
from torch import Tensor, nn
from torch.nn import functional

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")
SPATIAL_WIDTH = 2048  # hidden units of the two spatial heads


class AttentionPool(nn.Module):
    """Attention pooling with the mean over all pixels as the query: float [N, C, side, side] -> [N, outputs].

    The learned positional embedding fixes the image size. Raises ValueError if the width C is not a multiple of
    `head_channels`.
    """

    def __init__(self, width: int, side: int, head_channels: int, outputs: int):
        super().__init__()
        if head_channels < 1 or width % head_channels:
            raise ValueError(f"{width} channels cannot be split into heads of {head_channels}")
        self.heads: int = width // head_channels
        self.positional_embedding: nn.Parameter = nn.Parameter(torch.randn(width, side**2 + 1) / width**0.5)
        self.qkv: nn.Linear = nn.Linear(width, 3 * width)
        self.proj: nn.Linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2)
        tokens = torch.cat([pixels.mean(2, keepdim=True), pixels], dim=2) + self.positional_embedding
        qkv = self.qkv(tokens.transpose(1, 2)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [N, heads, tokens, C / heads]
        return self.proj(functional.scaled_dot_product_attention(q[:, :, :1], k, v).flatten(1))


def spatial_means_head(features: int, outputs: int, normalized: bool) -> nn.Sequential:
    """Return a two-layer head for the spatial means of all blocks: float [N, features] -> [N, outputs].

    The pool spatial_v2 is the normalized one.
    """
    between = [nn.GroupNorm(32, SPATIAL_WIDTH), nn.SiLU()] if normalized else [nn.ReLU()]
    return nn.Sequential(nn.Linear(features, SPATIAL_WIDTH), *between, nn.Linear(SPATIAL_WIDTH, outputs))
