"""Pass an ONNX model to TensorRT, as a file or as bytes."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fasttrt import _core
from fasttrt._common.input_file import is_utf8
from fasttrt._graph.model import OnnxModel
from fasttrt.errors import ParseError

T = TypeVar("T")


def feed_model(
    model: OnnxModel, from_file: Callable[[str], T], from_bytes: Callable[[bytes, str], T]
) -> T:
    """Call ``from_file`` with a path, or ``from_bytes`` with a model and its path.

    External data is found relative to that path. A model beyond protobuf's limit of 2 GiB is
    written to a temporary file for the call.

    Raises:
        InputError: a file of the model has changed since it was checked, or during the call.
    """
    with model.unchanged():
        if model.path is None or is_utf8(model.path.absolute()):
            return _feed_model(model, from_file, from_bytes)
        # TensorRT's messages quote paths, and must be valid UTF-8.
        folder = os.open(model.path.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            return from_bytes(model.to_bytes(), f"/proc/self/fd/{folder}/model.onnx")
        finally:
            os.close(folder)


def _feed_model(
    model: OnnxModel, from_file: Callable[[str], T], from_bytes: Callable[[bytes, str], T]
) -> T:
    if model.path is not None and model.is_in_file and not model.has_added_lengths:
        return from_file(os.fspath(model.path.absolute()))
    if model.fits_in_memory:
        return from_bytes(model.to_bytes(), os.fspath(model.path.absolute()) if model.path else "")
    with tempfile.TemporaryDirectory(prefix="fasttrt-") as folder:
        path = Path(folder) / "model.onnx"
        model.save(path)
        return from_file(os.fspath(path))


def parse_network(
    library: _core.Library, device: int | None, model: OnnxModel
) -> _core.PlanBuilder:
    """Return a builder that has parsed a model, which `pipeline` has prepared.

    Raises:
        ParseError: lists every node that TensorRT refused.
    """
    builder = _core.PlanBuilder(library, device)
    try:
        feed_model(model, builder.parse_file, builder.parse)
    except ParseError as error:
        from fasttrt._parser.parse_issues import explain_error

        raise explain_error(error, model, str(library)) from None
    return builder
