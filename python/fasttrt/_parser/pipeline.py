"""Turn the caller's model into what TensorRT's ONNX parser reads, by the lists in `passes`.

All steps, in order:

1. `transforms.transformed`: ``freeze`` and ``dims``, which the caller requests by name, and which
   apply to other backends, too;
2. `prepare`: the passes before a precision is applied;
3. `other_forms`: nodes that the parser has refused, in another form, and `prepare` again;
4. `conversion.convert_model`, if the precision is applied by changing the graph;
5. `finish`: the passes after it;
6. `OnnxModel.with_named_axes`, if the parser takes dimensions for equal that are not.

`typed_parse.parse` takes them for a build, and `typed_parse.prepare_as_built` for a refit.

A pass is a function ``(model, target) -> model`` in a file of its own. It returns the model itself
if it has nothing to do, and records what it did in the model's ``changes``.
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
    """Whether `BuildConfig.nan` asks for it."""


Pass: TypeAlias = Callable[[OnnxModel, Target], OnnxModel]


def prepare(model: OnnxModel, target: Target) -> OnnxModel:
    """Return the model ready for a precision to be applied, and for `finish`.

    Raises:
        ParseError: the parser would misinterpret the model, or crash.
    """
    from fasttrt._parser.passes import PASSES  # here, since only builds need them

    for step in PASSES:
        model = step(model, target)
    return model


def finish(model: OnnxModel, target: Target) -> OnnxModel:
    """Return the model for the library's parser, given the one in its final precision.

    Raises:
        ParseError: the library supports some nodes in no form.
    """
    from fasttrt._parser.passes import FINAL_PASSES

    for step in FINAL_PASSES:
        model = step(model, target)
    return model
