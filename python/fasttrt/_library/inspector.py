"""Parsing of the output of TensorRT's engine inspector."""

import json
from typing import Any


def layers_of(information: str) -> list[Any] | None:
    """Return the layers in the inspector's JSON; None if it does not list layers.

    A layer is an object if the plan was built with ``profiling_verbosity="detailed"``, else just a
    name. TensorRT 8.6 does not escape the control characters between the ONNX nodes of a layer,
    which JSON forbids and Python accepts with ``strict=False``.
    """
    try:
        content = json.loads(information, strict=False)
    except json.JSONDecodeError:
        return None
    layers = content.get("Layers") if isinstance(content, dict) else None
    return layers if isinstance(layers, list) else None
