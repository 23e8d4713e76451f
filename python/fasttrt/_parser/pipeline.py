"""From the caller's model to what TensorRT's ONNX parser reads, by the lists in `passes`.

The whole way, in order:

1. `transforms.transformed`: ``freeze`` and ``dims``, which the caller asks for by name, and which
   hold for other backends, too;
2. `prepare`: the passes before a precision is applied;
3. `other_forms`: nodes that the parser has refused, in another form, and `prepare` again;
4. `conversion.convert_model`, where the precision is brought about by the graph;
5. `finish`: the passes after it;
6. `OnnxModel.with_named_axes`, where the parser takes dimensions for equal that are not.

`typed_parse.parse` goes it for a build, and `typed_parse.prepare_as_built` for a refit.

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
    """Return the model that a precision may be applied to, before `finish`.

    Raises:
        ParseError: it would be taken for another one, or the parser would crash.
    """
    from fasttrt._parser.passes import PASSES  # here, as who builds nothing needs none

    for step in PASSES:
        model = step(model, target)
    return model


def finish(model: OnnxModel, target: Target) -> OnnxModel:
    """Return the model for the library's parser, from one in its final precision.

    Raises:
        ParseError: it has what the library does not know, and knows no other form of.
    """
    from fasttrt._parser.passes import FINAL_PASSES

    for step in FINAL_PASSES:
        model = step(model, target)
    return model
