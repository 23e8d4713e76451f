"""Recurrent networks of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.zoo.network import Input, Network, images, normal


def _recurrent(kind: str, layers: int = 2, bidirectional: bool = True) -> Any:
    def make(small: bool) -> Any:
        import torch

        width = 8 if small else 128

        class Recurrent(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cells = getattr(torch.nn, kind)(
                    width, width, layers, batch_first=True, bidirectional=bidirectional
                )
                self.head = torch.nn.Linear(width * (1 + bidirectional), 10)

            def forward(self, x: Any) -> Any:
                return self.head(self.cells(x)[0])

        return Recurrent().eval()

    return make


def _reader(small: bool) -> Any:
    """Text recognition: convolutions, then an LSTM along the line."""
    import torch
    from torch import nn

    width = 8 if small else 64

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(width, width, 3, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d((2, 1)),
                nn.Conv2d(width, width, (8, 1)),
                nn.ReLU(),
            )
            self.cells = nn.LSTM(width, width, bidirectional=True, batch_first=True)
            self.head = nn.Linear(2 * width, 40)

        def forward(self, lines: Any) -> Any:
            columns = self.features(lines).squeeze(2).transpose(1, 2)
            return torch.log_softmax(self.head(self.cells(columns)[0]), -1)

    return Reader().eval()


_BATCH = {"batch": (1, 4)}


def _one(
    name: str, make: Any, dynamic: Mapping[str, tuple[int, int]] = {**_BATCH, "steps": (2, 64)}
) -> Network:
    return Network(
        name,
        "recurrent",
        make,
        {"x": Input(("batch", "steps", "width"), normal)},
        {"batch": 2, "steps": 50, "width": 128},
        {"steps": 6, "width": 8},
        dynamic,
    )


NETWORKS = (
    _one("lstm", _recurrent("LSTM")),
    _one("lstm_fixed", _recurrent("LSTM"), dynamic={}),
    _one("gru", _recurrent("GRU")),
    # The exporter unrolls it: its graph holds for the example's number of steps only.
    _one("rnn", _recurrent("RNN", 1, False), dynamic=_BATCH),
    Network(
        "crnn",
        "recurrent",
        _reader,
        {"lines": Input(("batch", 1, 32, "width"), images)},
        {"batch": 2, "width": 128},
        {"width": 16},
        _BATCH,
        settle=True,
    ),
)
