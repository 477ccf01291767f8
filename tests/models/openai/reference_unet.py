"""The U-Net of improved-diffusion and guided-diffusion, from its description, under the names of the released state dicts: for tests alone.

Improved DDPM section 2 and appendix A; Guided Diffusion section 3. Every layer has random weights, also those that start at zero there.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Settings:
    """What their flags say; attention: the factors by which the image is smaller where there is attention. At most one of the head counts."""

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
    """h = conv(silu(norm(x))), resampled before the convolution where asked; then t, a norm and a second convolution; plus the shortcut."""

    def __init__(self, s: Settings, inputs: int, outputs: int, resample: str = ""):
        super().__init__()
        self.scale_shift, self.resample = s.scale_shift, resample
        self.in_layers = nn.Sequential(nn.GroupNorm(32, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * s.width, 2 * outputs if s.scale_shift else outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, outputs), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, silu, convolution = self.in_layers
        h = convolution(self._resampled(silu(norm(x))))
        x, emb = self._resampled(x), self.emb_layers(emb)[:, :, None, None]
        if not self.scale_shift:
            return self.skip_connection(x) + self.out_layers(h + emb)
        scale, shift = emb.chunk(2, dim=1)
        return self.skip_connection(x) + self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)


class Attention(nn.Module):
    """Each head attends over all pixels; q and k are both multiplied by (width of a head)^(-1/4)."""

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
        flat, each = x.reshape(n, width, -1), width // self.heads
        rows = self.qkv(self.norm(flat))
        if self.new_order:
            q, k, v = (part.reshape(n * self.heads, each, -1) for part in rows.chunk(3, dim=1))
        else:
            q, k, v = rows.reshape(n * self.heads, 3 * each, -1).split(each, dim=1)
        weights = torch.einsum("bct,bcs->bts", q * each**-0.25, k * each**-0.25).softmax(-1)
        mixed = torch.einsum("bts,bcs->bct", weights, v).reshape(n, width, -1)
        return (flat + self.proj_out(mixed)).reshape(n, width, *size)


class Down(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.op(x)


class Up(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class First(nn.Conv2d):
    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return super().forward(x)


def sinusoids(t: Tensor, width: int) -> Tensor:
    """cos then sin of t [N] at frequencies 10000^(-i / half): [N, width]."""
    half = width // 2
    angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def downward(s: Settings) -> tuple[nn.ModuleList, nn.ModuleList, list[int]]:
    """The blocks on the way down, those of the middle, and the width of what each on the way down answers."""
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
    """unet(xt, t, y): xt float [N, in_channels, H, W], t [N], y int64 [N] of classes where there are any."""

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
                parts = [Residual(s, width + skips.pop(), outputs)]
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
            for part in parts:
                h = part(h, emb)
            skips.append(h)
        for part in self.middle_block:
            h = part(h, emb)
        for parts in self.output_blocks:
            h = torch.cat([h, skips.pop()], dim=1)
            for part in parts:
                h = part(h, emb)
        return self.out(h)


def random_unet(settings: Settings, seed: int = 0) -> UNet:
    """In eval mode, with random weights."""
    torch.manual_seed(seed)
    return randomised(UNet(settings))


def randomised(network: nn.Module) -> nn.Module:
    """In eval mode, its norms and biases random too: torch's own first weights would hide a scale or a shift that is misplaced."""
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, Attention):
            nn.init.normal_(module.qkv.weight, 0, module.qkv.in_channels**-0.5)
    return network.eval()
