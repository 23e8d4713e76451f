"""The scripts' options."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(doc: str | None, budget: float) -> argparse.ArgumentParser:
    """The options of all scripts.

    Args:
        doc: the script's.
        budget: seconds after which nothing begins that can be left out.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and the targets alone")
    parser.add_argument(
        "--device", default="cuda", help='"cpu" tries the script out, for want of a GPU'
    )
    parser.add_argument(
        "--budget", type=float, default=budget,
        help="seconds after which no case begins that can be left out",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=max(240.0, budget + 120),
        help="seconds after which the script shows where it hangs, and ends",
    )  # fmt: skip
    return parser


def add_models(parser: argparse.ArgumentParser, default: str) -> None:
    """Those that choose what runs."""
    parser.add_argument(
        "--model", nargs="+", default=default.split(), metavar="MODEL",
        help="mlp, convnet, elementwise, resnet50, vit_b_16, text, or an ONNX file; "
        f"{default} if not given",
    )  # fmt: skip
    parser.add_argument(
        "--shapes", action="append", default=[], metavar="NAME:MIN:OPT:MAX",
        help="extents of an ONNX file's input, as in x:1x3x224x224:8x3x224x224:32x3x224x224, or "
        "one shape; several after commas, or the option again",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=float, default=3e-2,
        help="how far an ONNX file's answers may be from ONNX Runtime's, as a share of the largest "
        "value; 0.03 if not given, as TensorRT may round float32 to TF32",
    )  # fmt: skip


def add_plot(parser: argparse.ArgumentParser) -> None:
    """The option of scripts that draw."""
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw plots (PNG) into this folder"
    )
