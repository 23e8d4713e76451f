"""What diffusion uses, in plain PyTorch: a U-Net with cross attention, and a VAE."""

from __future__ import annotations

import math
from typing import Any

from support.zoo.network import Input, Network, images, normal, timesteps


def _residual(width: int, out: int, time: int) -> Any:
    """A block of a diffusion network: group norms, SiLU, and a shift by the time."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.GroupNorm(4, width), nn.GroupNorm(4, out)
            self.conv1 = nn.Conv2d(width, out, 3, padding=1)
            self.conv2 = nn.Conv2d(out, out, 3, padding=1)
            self.time = nn.Linear(time, out) if time else None
            self.skip = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

        def forward(self, x: Any, t: Any = None) -> Any:
            y = self.conv1(torch.nn.functional.silu(self.norm1(x)))
            if self.time is not None:
                y = y + self.time(torch.nn.functional.silu(t))[:, :, None, None]
            return self.skip(x) + self.conv2(torch.nn.functional.silu(self.norm2(y)))

    return Residual()


def _attention(width: int, context: int, heads: int) -> Any:
    """Self attention over an image's places, then attention to a context, then a gated MLP."""
    import torch
    from torch import nn

    functional = torch.nn.functional

    class Attention(nn.Module):
        def __init__(self, source: int) -> None:
            super().__init__()
            self.q = nn.Linear(width, width, bias=False)
            self.k, self.v = (nn.Linear(source, width, bias=False) for _ in range(2))
            self.out = nn.Linear(width, width)

        def forward(self, x: Any, source: Any) -> Any:
            q, k, v = (
                t.unflatten(-1, (heads, -1)).transpose(1, 2)
                for t in (self.q(x), self.k(source), self.v(source))
            )
            y = functional.scaled_dot_product_attention(q, k, v)
            return self.out(y.transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.GroupNorm(4, width)
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
            self.self_attention = Attention(width)
            self.cross_attention = Attention(context) if context else None
            self.gate, self.down = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)

        def forward(self, image: Any, text: Any = None) -> Any:
            x = self.norm(image).flatten(2).transpose(1, 2)
            y = self.norms[0](x)
            x = x + self.self_attention(y, y)
            if self.cross_attention is not None:
                x = x + self.cross_attention(self.norms[1](x), text)
            value, gate = self.gate(self.norms[2](x)).chunk(2, -1)
            x = x + self.down(value * functional.gelu(gate))
            return image + x.transpose(1, 2).reshape(image.shape)

    return Block()


def _unet(small: bool) -> Any:
    """A diffusion network: noise, a time and a text's features to the noise."""
    import torch
    from torch import nn

    width, context, heads = (8, 8, 2) if small else (64, 96, 8)
    time = 4 * width

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
            self.enter = nn.Conv2d(4, width, 3, padding=1)
            self.down1 = _residual(width, width, time)
            self.attend1 = _attention(width, context, heads)
            self.shrink = nn.Conv2d(width, width, 3, stride=2, padding=1)
            self.down2 = _residual(width, 2 * width, time)
            self.attend2 = _attention(2 * width, context, heads)
            self.middle = _residual(2 * width, 2 * width, time)
            self.grow = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
            self.up1 = _residual(3 * width, width, time)
            self.attend3 = _attention(width, context, heads)
            self.norm, self.leave = nn.GroupNorm(4, width), nn.Conv2d(width, 4, 3, padding=1)

        def forward(self, noise: Any, t: Any, text: Any) -> Any:
            rates = torch.exp(torch.arange(width // 2) * (-math.log(10000) / (width // 2)))
            angles = t[:, None] * rates.to(t)
            t = self.time(torch.cat([angles.cos(), angles.sin()], -1))
            first = self.attend1(self.down1(self.enter(noise), t), text)
            x = self.attend2(self.down2(self.shrink(first), t), text)
            x = self.middle(x, t)
            x = self.grow(torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = self.attend3(self.up1(torch.cat([x, first], 1), t), text)
            return self.leave(torch.nn.functional.silu(self.norm(x)))

    return UNet().eval()


def _vae_decoder(small: bool) -> Any:
    from torch import nn

    width = 8 if small else 64
    return nn.Sequential(
        nn.Conv2d(4, width, 3, padding=1),
        _residual(width, width, 0),
        _attention(width, 0, 1),
        _residual(width, width, 0),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 3, padding=1),
        _residual(width, width // 2, 0),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width // 2, width // 2, 3, padding=1),
        nn.GroupNorm(4, width // 2),
        nn.SiLU(),
        nn.Conv2d(width // 2, 3, 3, padding=1),
    ).eval()


def _vae_encoder(small: bool) -> Any:
    from torch import nn

    width = 8 if small else 64
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        _residual(width, width, 0),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(width, width, 3, stride=2),
        _residual(width, 2 * width, 0),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2),
        _attention(2 * width, 0, 1),
        nn.GroupNorm(4, 2 * width),
        nn.SiLU(),
        nn.Conv2d(2 * width, 8, 3, padding=1),
    ).eval()


BATCHES = {"batch": (1, 4)}
NETWORKS = (
    Network(
        "diffusion_unet",
        "diffusion",
        _unet,
        {
            "noise": Input(("batch", 4, "size", "size"), normal),
            "t": Input(("batch",), timesteps),
            "text": Input(("batch", "length", "context"), normal),
        },
        {"batch": 2, "size": 32, "length": 20, "context": 96},
        {"size": 8, "length": 5, "context": 8},
        {**BATCHES, "length": (2, 64)},
    ),
    Network(
        "vae_decoder",
        "diffusion",
        _vae_decoder,
        {"z": Input(("batch", 4, "size", "size"), normal)},
        {"batch": 2, "size": 32},
        {"size": 8},
        BATCHES,
    ),
    Network(
        "vae_encoder",
        "diffusion",
        _vae_encoder,
        {"pixels": Input(("batch", 3, "size", "size"), images)},
        {"batch": 2, "size": 64},
        {"size": 16},
        BATCHES,
    ),
)
