"""How a noisy classifier comes from the outputs of its blocks to one answer. Guided Diffusion section 4; the pools that its code knows by name."""

import torch
from torch import Tensor, nn
from torch.nn import functional

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")
HIDDEN = 2048  # of the two spatial pools


class AttentionPool(nn.Module):
    """Attention over the pixels and their mean, asked by the mean alone: images float [N, C, side, side] -> [N, outputs].

    A learned vector belongs to every place, so that the pool is fixed to one size. Raises ValueError where heads of head_channels do not
    divide the width C.
    """

    def __init__(self, width: int, side: int, head_channels: int, outputs: int):
        super().__init__()
        if head_channels < 1 or width % head_channels:
            raise ValueError(f"{width} channels cannot be split into heads of {head_channels}")
        self.heads = width // head_channels
        self.positional_embedding = nn.Parameter(torch.randn(width, side**2 + 1) / width**0.5)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2)
        tokens = torch.cat([pixels.mean(2, keepdim=True), pixels], dim=2) + self.positional_embedding
        q, k, v = (
            self.qkv(tokens.transpose(1, 2)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # each [N, heads, tokens, C / heads]
        return self.proj(functional.scaled_dot_product_attention(q[:, :, :1], k, v).flatten(1))


def spatial_head(features: int, outputs: int, normalised: bool) -> nn.Sequential:
    """Two layers on the means of all blocks' outputs, [N, features]; the pool spatial_v2 is the normalised one."""
    between = [nn.GroupNorm(32, HIDDEN), nn.SiLU()] if normalised else [nn.ReLU()]
    return nn.Sequential(nn.Linear(features, HIDDEN), *between, nn.Linear(HIDDEN, outputs))
