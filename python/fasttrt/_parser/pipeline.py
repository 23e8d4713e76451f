"""From the caller's model to what TensorRT's ONNX parser reads, by the lists in `passes`.

A pass is a function ``(model, target) -> model`` in a file of its own. It gives the model itself
where it has nothing to do, and notes what it did in the model's ``changes``.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from fasttrt import _core
from fasttrt._graph.model import OnnxModel


class Target(NamedTuple):
    """What the model is prepared for."""

    library: _core.Library
    has_plugins: bool = False
    """Whether the caller has given plugin libraries."""
    propagate_nan: bool = False
    """What `BuildConfig.nan` asks for."""


Pass: TypeAlias = Callable[[OnnxModel, Target], OnnxModel]


def prepare(model: OnnxModel, target: Target) -> OnnxModel:
    """Give the model that a precision may be applied to, before `finish`.

    Raises:
        ParseError: it would be taken for another one, or the parser would crash.
    """
    from fasttrt._parser.passes import PASSES  # here, as who builds nothing needs none

    for step in PASSES:
        model = step(model, target)
    return model


def finish(model: OnnxModel, target: Target) -> OnnxModel:
    """Give the model as the library's parser shall see it, from one that is of its precision.

    Raises:
        ParseError: it has what the library does not know, and knows no other form of.
    """
    from fasttrt._parser.passes import FINAL_PASSES

    for step in FINAL_PASSES:
        model = step(model, target)
    return model
