"""What TensorRT's inspector tells of an engine, which every reader gets from here."""

import json
from typing import Any


def layers_of(information: str) -> list[Any] | None:
    """The layers in the inspector's JSON; None where it is no account of layers.

    A layer is an object where the plan was built with ``profiling_verbosity="detailed"``, and a
    bare name else. TensorRT 8.6 leaves control characters within strings as they are (between the
    ONNX nodes of a layer), which JSON forbids and Python reads on request.
    """
    try:
        content = json.loads(information, strict=False)
    except json.JSONDecodeError:
        return None
    layers = content.get("Layers") if isinstance(content, dict) else None
    return layers if isinstance(layers, list) else None
