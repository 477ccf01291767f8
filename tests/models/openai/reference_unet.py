"""Reference implementation of OpenAI's U-Net (improved-diffusion, guided-diffusion), with its state dict names.

Improved DDPM section 2 and appendix A; Guided Diffusion section 3. Only for tests; written from the papers'
descriptions. All layers have random weights, also those that are zero-initialized in the original.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Settings:
    """The flags of the original. `attention` lists the downsampling factors with attention."""

    width: int = 32
    multipliers: tuple[float, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = (2,)
    in_channels: int = 3
    out_channels: int = 3
    classes: int = 0
    heads: int = 1
    heads_upsample: int | None = None
    head_channels: int | None = None
    new_order: bool = False
    scale_shift: bool = True
    residual_sampling: bool = False


class Residual(nn.Module):
    """Residual block: norm, SiLU, optional resampling, convolution; then t, norm, convolution; plus the shortcut."""

    def __init__(self, s: Settings, inputs: int, outputs: int, resample: str = ""):
        super().__init__()
        self.scale_shift, self.resample = s.scale_shift, resample
        self.in_layers = nn.Sequential(nn.GroupNorm(32, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * s.width, 2 * outputs if s.scale_shift else outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, outputs), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def _maybe_resample(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, silu, convolution = self.in_layers
        h = convolution(self._maybe_resample(silu(norm(x))))
        x, emb = self._maybe_resample(x), self.emb_layers(emb)[:, :, None, None]
        if not self.scale_shift:
            return self.skip_connection(x) + self.out_layers(h + emb)
        scale, shift = emb.chunk(2, dim=1)
        return self.skip_connection(x) + self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)


class Attention(nn.Module):
    """Self-attention over all pixels; q and k are both multiplied by (channels per head)^(-1/4)."""

    def __init__(self, s: Settings, width: int, up: bool = False):
        super().__init__()
        self.heads = width // s.head_channels if s.head_channels else (s.heads_upsample or s.heads if up else s.heads)
        self.new_order = s.new_order
        self.norm, self.qkv, self.proj_out = (
            nn.GroupNorm(32, width),
            nn.Conv1d(width, 3 * width, 1),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        n, width, *size = x.shape
        flat, head_width = x.reshape(n, width, -1), width // self.heads
        rows = self.qkv(self.norm(flat))
        if self.new_order:
            q, k, v = (part.reshape(n * self.heads, head_width, -1) for part in rows.chunk(3, dim=1))
        else:
            q, k, v = rows.reshape(n * self.heads, 3 * head_width, -1).split(head_width, dim=1)
        weights = torch.einsum("bct,bcs->bts", q * head_width**-0.25, k * head_width**-0.25).softmax(-1)
        mixed = torch.einsum("bts,bcs->bct", weights, v).reshape(n, width, -1)
        return (flat + self.proj_out(mixed)).reshape(n, width, *size)


class Down(nn.Module):
    """Halve the image with a convolution."""

    def __init__(self, width: int):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.op(x)


class Up(nn.Module):
    """Double the image and apply a convolution."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class First(nn.Conv2d):
    """A convolution with the call signature of the other blocks."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return super().forward(x)


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Return [cos, sin] of t [N] at the frequencies 10000^(-i / half): float [N, width]."""
    half = width // 2
    angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def downward(s: Settings) -> tuple[nn.ModuleList, nn.ModuleList, list[int]]:
    """Return the blocks on the way down, the middle block, and the output widths of the blocks on the way down."""
    widths = [int(m * s.width) for m in s.multipliers]
    blocks, skips = nn.ModuleList([nn.ModuleList([First(s.in_channels, widths[0], 3, padding=1)])]), [widths[0]]
    for level, outputs in enumerate(widths):
        for _ in range(s.blocks):
            attention = [Attention(s, outputs)] if 2**level in s.attention else []
            blocks.append(nn.ModuleList([Residual(s, skips[-1], outputs), *attention]))
            skips.append(outputs)
        if level < len(widths) - 1:
            blocks.append(
                nn.ModuleList([Residual(s, outputs, outputs, "down") if s.residual_sampling else Down(outputs)])
            )
            skips.append(outputs)
    width = widths[-1]
    return blocks, nn.ModuleList([Residual(s, width, width), Attention(s, width), Residual(s, width, width)]), skips


class UNet(nn.Module):
    """The U-Net: unet(xt, t, y) with xt float [N, in_channels, H, W], t [N], and y int64 [N] if there are classes."""

    def __init__(self, s: Settings):
        super().__init__()
        self.settings = s
        self.time_embed = nn.Sequential(nn.Linear(s.width, 4 * s.width), nn.SiLU(), nn.Linear(4 * s.width, 4 * s.width))
        if s.classes:
            self.label_emb = nn.Embedding(s.classes, 4 * s.width)
        widths = [int(m * s.width) for m in s.multipliers]
        width, first = widths[-1], widths[0]
        self.input_blocks, self.middle_block, skips = downward(s)
        self.output_blocks = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(widths))):
            for block in range(s.blocks + 1):
                parts: list[nn.Module] = [Residual(s, width + skips.pop(), outputs)]
                width = outputs
                if 2**level in s.attention:
                    parts.append(Attention(s, width, up=True))
                if level and block == s.blocks:
                    parts.append(Residual(s, width, width, "up") if s.residual_sampling else Up(width))
                self.output_blocks.append(nn.ModuleList(parts))
        self.out = nn.Sequential(nn.GroupNorm(32, first), nn.SiLU(), nn.Conv2d(first, s.out_channels, 3, padding=1))

    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb = self.time_embed(sinusoids(t, self.settings.width).to(xt.dtype))
        if y is not None:
            emb = emb + self.label_emb(y)
        h, skips = xt, []
        for parts in self.input_blocks:
            assert isinstance(parts, nn.ModuleList)
            for part in parts:
                h = part(h, emb)
            skips.append(h)
        for part in self.middle_block:
            h = part(h, emb)
        for parts in self.output_blocks:
            assert isinstance(parts, nn.ModuleList)
            h = torch.cat([h, skips.pop()], dim=1)
            for part in parts:
                h = part(h, emb)
        return self.out(h)


def random_unet(settings: Settings, seed: int = 0) -> UNet:
    """Return a U-Net with random weights, in eval mode."""
    torch.manual_seed(seed)
    network = UNet(settings)
    randomize(network)
    return network


def randomize(network: nn.Module) -> None:
    """Randomize norms and the weights of attention, whose defaults would hide misplaced scales, and set eval mode."""
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, Attention):
            nn.init.normal_(module.qkv.weight, 0, module.qkv.in_channels**-0.5)
    network.eval()
