"""A part of a PyTorch module, replaced in place by an engine.

python examples/torch_module.py --device auto

The body of a small network for images runs in fasttrt; its head stays in PyTorch. The weights are
random: what counts is that both give the same.
"""

import argparse

import torch
from torch import nn

import fasttrt

TOLERANCE = 5e-3  # TF32, TensorRT's default, keeps 10 bits of each factor: about 1e-3


class Classifier(nn.Module):
    """Images ``[batch, 3, 64, 64]`` to ten classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, more in ((3, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(channels, more, 3, 2, 1), nn.BatchNorm2d(more), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The classes' scores."""
        return self.head(self.body(images))


def main() -> None:
    """Replace the body, and hold the answers against those from before."""
    torch.set_grad_enabled(False)
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--device", default="auto", help="auto, cuda, cuda:N or cpu")
    device = options.parse_args().device
    on_gpu = torch.cuda.is_available() and device != "cpu"
    model = Classifier().eval().to(("cuda" if device == "auto" else device) if on_gpu else "cpu")
    images = torch.randn(8, 3, 64, 64, device=model.head.weight.device)
    before = model(images)

    body = fasttrt.from_torch(model.body, images, dynamic={"input": {0: (1, 8, 32)}}, device=device)
    del model.body  # PyTorch takes nothing but modules under a child's name
    model.body = body
    after = model(images)

    error = ((after - before).abs().max() / before.abs().max()).item()
    print(f"on {body.engine.device}: largest error {error:.1e} of the largest value")
    body.close()
    if not error < TOLERANCE:
        raise SystemExit("the answer is wrong")
    print("right")


if __name__ == "__main__":
    main()
