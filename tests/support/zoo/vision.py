"""Networks of images, points and sounds written here in plain PyTorch."""

from __future__ import annotations

from typing import Any

from support.zoo.network import Input, Network, images, normal


def _segmentation_unet(small: bool) -> Any:
    """The U-Net of medical images: transposed convolutions, max pooling, batch norms."""
    import torch
    from torch import nn

    width = 8 if small else 32

    def block(source: int, target: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(source, target, 3, padding=1),
            nn.BatchNorm2d(target),
            nn.ReLU(),
            nn.Conv2d(target, target, 3, padding=1),
            nn.BatchNorm2d(target),
            nn.ReLU(),
        )

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = (
                block(1, width),
                block(width, 2 * width),
                block(2 * width, 4 * width),
            )
            self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
            self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
            self.four, self.five = block(4 * width, 2 * width), block(2 * width, width)
            self.head = nn.Conv2d(width, 3, 1)

        def forward(self, pixels: Any) -> Any:
            pool = torch.nn.functional.max_pool2d
            one = self.one(pixels)
            two = self.two(pool(one, 2))
            x = self.four(torch.cat([self.up2(self.three(pool(two, 2))), two], 1))
            return self.head(self.five(torch.cat([self.up1(x), one], 1)))

    return UNet().eval()


def _super_resolution(small: bool) -> Any:
    from torch import nn

    width = 8 if small else 48
    body = [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)] * 3
    return nn.Sequential(
        nn.Conv2d(3, width, 5, padding=2),
        nn.PReLU(width),
        *body,
        nn.Conv2d(width, 27, 3, padding=1),
        nn.PixelShuffle(3),
    ).eval()


def _points(small: bool) -> Any:
    """PointNet: the same layers for each point, then the maximum of all."""
    import torch
    from torch import nn

    width = 8 if small else 64

    class PointNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(
                nn.Conv1d(3, width, 1),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Conv1d(width, 4 * width, 1),
                nn.BatchNorm1d(4 * width),
            )
            self.head = nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, 10))

        def forward(self, points: Any) -> Any:
            return self.head(torch.amax(self.each(points), 2))

    return PointNet().eval()


def _transformer(small: bool) -> Any:
    """PyTorch's own encoder layers, on their fast path no more than off it."""
    from torch import nn

    width = 16 if small else 256
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 1 if small else 3, enable_nested_tensor=False).eval()


def _generator(small: bool) -> Any:
    """A vocoder: transposed convolutions of sounds, dilated ones, leaky activations."""
    from torch import nn

    width = 8 if small else 64
    return nn.Sequential(
        nn.Conv1d(20, width, 7, padding=3),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(width, width, 16, 8, 4),
        nn.LeakyReLU(0.1),
        nn.Conv1d(width, width, 3, dilation=3, padding=3),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(width, width, 8, 4, 2),
        nn.LeakyReLU(0.1),
        nn.Conv1d(width, 1, 7, padding=3),
        nn.Tanh(),
    ).eval()


BATCHES = {"batch": (1, 4)}
NETWORKS = (
    Network(
        "unet",
        "segmentation",
        _segmentation_unet,
        {"pixels": Input(("batch", 1, "size", "size"), images)},
        {"batch": 2, "size": 96},
        {"size": 16},
        BATCHES,
        settle=True,
    ),
    Network(
        "espcn",
        "enhancement",
        _super_resolution,
        {"pixels": Input(("batch", 3, "height", "columns"), images)},
        {"batch": 2, "height": 48, "columns": 64},
        {"height": 8, "columns": 8},
        {**BATCHES, "height": (16, 64), "columns": (16, 64)},
    ),
    Network(
        "pointnet",
        "points",
        _points,
        {"points": Input(("batch", 3, "count"), normal)},
        {"batch": 2, "count": 512},
        {"count": 16},
        {**BATCHES, "count": (16, 1024)},
        settle=True,
    ),
    Network(
        "torch_encoder",
        "text encoder",
        _transformer,
        {"x": Input(("batch", "length", "width"), normal)},
        {"batch": 2, "length": 40, "width": 256},
        {"length": 6, "width": 16},
        {**BATCHES, "length": (2, 64)},
    ),
    Network(
        "vocoder",
        "speech",
        _generator,
        {"mels": Input(("batch", 20, "frames"), normal)},
        {"batch": 2, "frames": 32},
        {"frames": 4},
        {**BATCHES, "frames": (4, 64)},
    ),
)
