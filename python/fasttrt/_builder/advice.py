"""Find advice for a model that does not parse or build, by trial within a few seconds.

TensorRT requires many parameters to be constants, and supports some nodes only with fixed shapes.
The trials fix dimensions, to their opt or else their min, and make parameters of a few values
constant, integers first. The exception names the smallest change that helps; it is never applied,
as that is up to the caller.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fasttrt._common.log import logger
from fasttrt._common.progress import BuildProgress, ProgressCallback
from fasttrt._common.tensor_spec import Shape
from fasttrt._graph.model import DeclaredTensor, OnnxModel
from fasttrt._graph.parameter_inputs import parameters
from fasttrt._graph.transforms import transformed
from fasttrt._library.tensorrt_log import trial
from fasttrt._plan.profiles import Shapes, default_sizes, is_placeholder, parse_range
from fasttrt.errors import Error

_SECONDS = 10.0
"""The time limit for all trials together."""
_MAX_VALUES = 64
"""The maximum number of values of a parameter; larger inputs are data."""
_UNKNOWN_SIZE = 64
"""The size of a dimension about which neither the caller nor its name says anything."""
# Values for unknown inputs: valid axes, repeats and sizes are mostly among them.
_EXAMPLES: tuple[Callable[[int], Any], ...] = (np.ones, np.zeros, np.arange)

Attempt: TypeAlias = Callable[[OnnxModel, Shapes | None, float], object]
"""Parses or builds a changed model with shapes until a deadline (time.monotonic()), or raises."""


class _Change(NamedTuple):
    """An argument's entry: ``freeze={key: value}`` or ``dims={key: value}``."""

    argument: str
    key: str
    value: Any


class _OutOfTimeError(Error):
    """A trial took too long."""


def stop_at(deadline: float) -> ProgressCallback:
    """Return a progress callback that ends a build at a deadline (time.monotonic())."""

    def check(_: BuildProgress) -> None:
        if time.monotonic() > deadline:
            raise _OutOfTimeError("the trial took too long")

    return check


def builds_too(build: Callable[[], object] | None) -> None:
    """Check that a parsed model builds, within the time; None if the build cannot be stopped."""
    if build is None:
        return
    try:
        build()
    except _OutOfTimeError:
        logger.debug("it parses, and there was no time to see whether it builds")


def advise(
    model: OnnxModel, shapes: Shapes | None, does: str, attempt: Attempt, took: float
) -> str:
    """Find the changes with which a model parses or builds, as a sentence; empty if none helps.

    Args:
        model: the model that failed, before folding.
        shapes: the caller's shapes, or the profiles.
        does: ``"parses"`` or ``"builds"``, for the sentence.
        attempt: parses or builds a model.
        took: the duration of the failure in seconds. Trials take as long, so there is no trial if
            it was long.
    """
    deadline = time.monotonic() + _SECONDS

    def helps(changes: Sequence[_Change]) -> bool:
        if time.monotonic() + took > deadline:
            return False
        arguments = _arguments(changes)
        logger.debug("trying what would help: %s", arguments)
        try:
            changed = transformed(model, arguments["freeze"], arguments["dims"])
            attempt(changed, _narrowed(model, changed, shapes), deadline)
        except Error as error:
            logger.debug("that does not help: %s", error)
            return False
        return True

    try:
        with trial():
            for candidate in _candidates(model, _first(shapes)):
                if helps(candidate):
                    return _sentence(_needed(candidate, helps), does)
    except Exception as error:  # the caller must see the original error
        logger.debug("no advice: %s", error)
    return ""


def _needed(changes: list[_Change], helps: Callable[[list[_Change]], bool]) -> list[_Change]:
    """Remove the changes that are not needed."""
    for change in reversed(changes):
        fewer = [other for other in changes if other is not change]
        if fewer and helps(fewer):
            changes = fewer
    return changes


def _candidates(model: OnnxModel, profile: Mapping[str, Any]) -> Iterator[list[_Change]]:
    """Yield the changes to try, the smallest first."""
    best = _sizes(model, profile, 1)
    alternatives = [_dims(model, best)]
    least = _dims(model, _sizes(model, profile, 0))
    if least != alternatives[0]:  # some models hold for a batch of 1 only
        alternatives.append(least)
    if alternatives[0]:
        yield from alternatives
    parameter_names = parameters(model.skeleton)
    small = [
        tensor
        for tensor in model.inputs
        if tensor.name in parameter_names
        and len(best[tensor.name]) <= 1
        and prod(best[tensor.name]) <= _MAX_VALUES
    ]
    integers = [tensor for tensor in small if tensor.dtype.kind in "biu"]
    for frozen in [integers] if integers == small else [integers, small]:
        if not frozen or len(frozen) == len(model.inputs):  # something must be left to feed
            continue
        names = {tensor.name for tensor in frozen}
        others = [
            [change for change in dims if change.key.rpartition(".")[0] not in names]
            for dims in alternatives
        ]
        for first, example in product([[], *filter(None, others)], _EXAMPLES):
            yield first + [
                _Change("freeze", t.name, _value(model, t, best[t.name], profile, example))
                for t in frozen
            ]


def _sizes(model: OnnxModel, profile: Mapping[str, Any], which: int) -> dict[str, Shape]:
    """Choose a shape to try for each input: the caller's, or one derived or guessed from names.

    Args:
        model: the model that failed.
        profile: the caller's shapes.
        which: the index into (min, opt, max).
    """
    named: dict[str, int] = {}
    for tensor in model.inputs:
        for dim, chosen in zip(tensor.shape or (), _given(tensor, profile, which), strict=False):
            if isinstance(dim, str) and not is_placeholder(dim):
                named.setdefault(dim, chosen)
    return {tensor.name: _likely(tensor, profile, which, named) for tensor in model.inputs}


def _dims(model: OnnxModel, best: Mapping[str, Shape]) -> list[_Change]:
    """Return changes that fix all dimensions of the inputs: by name, if it has a single size."""
    sizes: dict[str, dict[str, int]] = {}
    for tensor in model.inputs:
        for axis, dim in enumerate(tensor.shape or ()):
            if isinstance(dim, str):
                place = f"{tensor.name}.{axis}"
                name = place if not dim or is_placeholder(dim) else dim
                sizes.setdefault(name, {})[place] = best[tensor.name][axis]
    changes = []
    for name, places in sizes.items():
        same = len(set(places.values())) == 1
        entries = {name: next(iter(places.values()))} if same else places
        changes += [_Change("dims", key, dim) for key, dim in entries.items()]
    return changes


def _given(tensor: DeclaredTensor, profile: Mapping[str, Any], which: int) -> Shape:
    """Return the shape that the caller passed for an input; empty if there is none, or values."""
    if tensor.name not in profile:
        return ()
    given = parse_range(tensor.name, profile[tensor.name])[which]
    return given if len(given) == len(tensor.shape or ()) else ()


def _likely(
    tensor: DeclaredTensor, profile: Mapping[str, Any], which: int, named: Mapping[str, int]
) -> Shape:
    declared = tensor.shape or ()
    given = _given(tensor, profile, which) or (0,) * len(declared)
    sizes = []
    for dim, chosen in zip(declared, given, strict=True):
        if isinstance(dim, int):
            sizes.append(dim)
            continue
        likely = default_sizes(dim)
        default = likely[which] if likely else _UNKNOWN_SIZE
        sizes.append(chosen or named.get(dim, default))
    return tuple(sizes)


def _value(
    model: OnnxModel,
    tensor: DeclaredTensor,
    shape: Shape,
    profile: Mapping[str, Any],
    example: Callable[[int], Any],
) -> np.ndarray[Any, Any]:
    """Return the caller's value of an input, one that the model compares with, or an example."""
    size = prod(shape)
    array = np.asarray(example(size))
    if tensor.name in profile:
        given = parse_range(tensor.name, profile[tensor.name])[1]
        if len(given) == size and given != shape:
            array = np.asarray(given)
    elif (compared := _compared_with(model, tensor.name)) is not None and size == compared.size:
        array = compared
    return array.reshape(shape).astype(tensor.dtype)


def _compared_with(model: OnnxModel, name: str) -> np.ndarray[Any, Any] | None:
    """Return the constant that the model compares an input with, such as a known sampling rate."""
    constants = model.tensors.constants
    for node in model.skeleton.graph.node:
        if node.op_type == "Equal" and name in node.input:
            for other in node.input:
                if other in constants:
                    return constants[other]
    return None


def _first(shapes: Shapes | None) -> Mapping[str, Any]:
    profiles = [shapes] if isinstance(shapes, Mapping) else shapes
    return profiles[0] if profiles else {}


def _narrowed(before: OnnxModel, after: OnnxModel, shapes: Shapes | None) -> Shapes | None:
    """Adapt shapes to a changed model: for the remaining inputs, with the fixed dimensions."""
    if shapes is None:
        return None
    was = {tensor.name: tensor.shape or () for tensor in before.inputs}
    left = {tensor.name: tensor.shape or () for tensor in after.inputs}

    def narrowed(name: str, given: Any) -> Any:
        parts = parse_range(name, given)
        if len(parts[0]) != len(was[name]):  # a shape tensor's values
            return given
        fixed = [
            new if old != new else None for old, new in zip(was[name], left[name], strict=True)
        ]
        return [
            [new if new is not None else old for old, new in zip(part, fixed, strict=True)]
            for part in parts
        ]

    return [
        {name: narrowed(name, given) for name, given in profile.items() if name in left}
        for profile in ([shapes] if isinstance(shapes, Mapping) else shapes)
    ] or None


def _arguments(changes: Sequence[_Change]) -> dict[str, dict[str, Any]]:
    arguments: dict[str, dict[str, Any]] = {"freeze": {}, "dims": {}}
    for argument, key, value in changes:
        arguments[argument][key] = value
    return arguments


def _sentence(changes: Sequence[_Change], does: str) -> str:
    """Format advice as in ``Verified: the model parses with freeze={"axes": [1]}. ...``."""
    arguments = _arguments(changes)
    written = []
    for argument, entries in arguments.items():
        if entries:
            listed = ", ".join(
                f'"{key}": {np.asarray(value).tolist()}' for key, value in entries.items()
            )
            written.append(f"{argument}={{{listed}}}")
    what = "values and sizes" if len(written) > 1 else "values" if arguments["freeze"] else "sizes"
    return (
        f"Verified: the model {does} with {' and '.join(written)}. The {what} are examples; use "
        "your own."
    )
