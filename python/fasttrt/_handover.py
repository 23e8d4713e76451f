"""Giving an ONNX model to TensorRT, whichever way it has to go."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fasttrt.model import OnnxModel

T = TypeVar("T")


def hand_over(
    model: OnnxModel, from_file: Callable[[str], T], from_bytes: Callable[[bytes, str], T]
) -> T:
    """Call one of the two: with a path, or with bytes and the path that their data is relative to.

    External data is found beside the file that the model came from. The bytes end at protobuf's
    limit of 2 GiB; beyond it a file is written for the time of the call.

    Raises:
        InputError: a file of the model has changed since it was checked, or did so in the call.
    """
    with model.unchanged():
        return _hand_over(model, from_file, from_bytes)


def _hand_over(
    model: OnnxModel, from_file: Callable[[str], T], from_bytes: Callable[[bytes, str], T]
) -> T:
    if model.path is not None and not model.is_changed and model.is_binary:
        return from_file(os.fspath(model.path.absolute()))
    if model.fits_in_memory:
        return from_bytes(model.to_bytes(), os.fspath(model.path.absolute()) if model.path else "")
    with tempfile.TemporaryDirectory(prefix="fasttrt-") as folder:
        path = Path(folder) / "model.onnx"
        model.save(path)
        return from_file(os.fspath(path))
