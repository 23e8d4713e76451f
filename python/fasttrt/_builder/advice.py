"""What would help a model that does not parse or build: found by trying, within a few seconds.

TensorRT wants many parameters as constants, and some nodes only with fixed extents. The trials fix
the dimensions, to their optimum or else their minimum, and make parameters of a few values
constant, those of integers first, and the exception names the least of it that helps. Nothing of it
becomes the build: that is for the caller to say.
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
"""For all trials together."""
_MAX_VALUES = 64
"""Values of a parameter: an input with more is data."""
_UNKNOWN_EXTENT = 64
"""Where neither the caller nor the dimension's name says anything."""
# Values for inputs of which nothing is known: axes, repeats and sizes are mostly among them.
_EXAMPLES: tuple[Callable[[int], Any], ...] = (np.ones, np.zeros, np.arange)

Attempt: TypeAlias = Callable[[OnnxModel, Shapes | None, float], object]
"""Parses or builds a changed model with shapes until a moment of time.monotonic(), or raises."""


class _Change(NamedTuple):
    """An argument's entry: ``freeze={key: value}`` or ``dims={key: value}``."""

    argument: str
    key: str
    value: Any


class _OutOfTimeError(Error):
    """A trial took too long."""


def stop_at(deadline: float) -> ProgressCallback:
    """A callback that ends a build at a moment of time.monotonic()."""

    def check(_: BuildProgress) -> None:
        if time.monotonic() > deadline:
            raise _OutOfTimeError("the trial took too long")

    return check


def builds_too(build: Callable[[], object] | None) -> None:
    """See that what parses builds, as far as the time allows that; None: it cannot be stopped."""
    if build is None:
        return
    try:
        build()
    except _OutOfTimeError:
        logger.debug("it parses, and there was no time to see whether it builds")


def advise(
    model: OnnxModel, shapes: Shapes | None, does: str, attempt: Attempt, took: float
) -> str:
    """A sentence that names the changes with which a model parses or builds; empty if none does.

    Args:
        model: what failed, before any folding.
        shapes: the caller's, or the profiles.
        does: ``"parses"`` or ``"builds"``, for the sentence.
        attempt: parses or builds.
        took: seconds that the failure took. Trials take as long, so if it was long none is made.
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
    except Exception as error:  # the caller is to see what failed, not what failed to help
        logger.debug("no advice: %s", error)
    return ""


def _needed(changes: list[_Change], helps: Callable[[list[_Change]], bool]) -> list[_Change]:
    """The changes without those that do nothing for it."""
    for change in reversed(changes):
        fewer = [other for other in changes if other is not change]
        if fewer and helps(fewer):
            changes = fewer
    return changes


def _candidates(model: OnnxModel, profile: Mapping[str, Any]) -> Iterator[list[_Change]]:
    """What to try, the least first."""
    best = _extents(model, profile, 1)
    alternatives = [_dims(model, best)]
    least = _dims(model, _extents(model, profile, 0))
    if least != alternatives[0]:  # some models hold for a batch of 1 only
        alternatives.append(least)
    if alternatives[0]:
        yield from alternatives
    told = parameters(model.skeleton)
    small = [
        tensor
        for tensor in model.inputs
        if tensor.name in told
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


def _extents(model: OnnxModel, profile: Mapping[str, Any], which: int) -> dict[str, Shape]:
    """The extents to try for each input: as given, or by the same name, or likely.

    Args:
        model: the one that failed.
        profile: the caller's.
        which: of (min, opt, max).
    """
    named: dict[str, int] = {}
    for tensor in model.inputs:
        for extent, wanted in zip(tensor.shape or (), _given(tensor, profile, which), strict=False):
            if isinstance(extent, str) and not is_placeholder(extent):
                named.setdefault(extent, wanted)
    return {tensor.name: _likely(tensor, profile, which, named) for tensor in model.inputs}


def _dims(model: OnnxModel, best: Mapping[str, Shape]) -> list[_Change]:
    """All dimensions of the inputs at their optimum: by name, where a name has one extent."""
    extents: dict[str, dict[str, int]] = {}
    for tensor in model.inputs:
        for axis, extent in enumerate(tensor.shape or ()):
            if isinstance(extent, str):
                place = f"{tensor.name}.{axis}"
                name = place if not extent or is_placeholder(extent) else extent
                extents.setdefault(name, {})[place] = best[tensor.name][axis]
    changes = []
    for name, places in extents.items():
        same = len(set(places.values())) == 1
        entries = {name: next(iter(places.values()))} if same else places
        changes += [_Change("dims", key, extent) for key, extent in entries.items()]
    return changes


def _given(tensor: DeclaredTensor, profile: Mapping[str, Any], which: int) -> Shape:
    """The extents that the caller gave for an input; none where it gave values, or nothing."""
    if tensor.name not in profile:
        return ()
    given = parse_range(tensor.name, profile[tensor.name])[which]
    return given if len(given) == len(tensor.shape or ()) else ()


def _likely(
    tensor: DeclaredTensor, profile: Mapping[str, Any], which: int, named: Mapping[str, int]
) -> Shape:
    declared = tensor.shape or ()
    given = _given(tensor, profile, which) or (0,) * len(declared)
    extents = []
    for extent, wanted in zip(declared, given, strict=True):
        if isinstance(extent, int):
            extents.append(extent)
            continue
        likely = default_sizes(extent)
        default = likely[which] if likely else _UNKNOWN_EXTENT
        extents.append(wanted or named.get(extent, default))
    return tuple(extents)


def _value(
    model: OnnxModel,
    tensor: DeclaredTensor,
    extents: Shape,
    profile: Mapping[str, Any],
    example: Callable[[int], Any],
) -> np.ndarray[Any, Any]:
    """What the caller gave for a shape tensor, what the model compares it with, or an example."""
    size = prod(extents)
    array = np.asarray(example(size))
    if tensor.name in profile:
        given = parse_range(tensor.name, profile[tensor.name])[1]
        if len(given) == size and given != extents:
            array = np.asarray(given)
    elif (compared := _compared_with(model, tensor.name)) is not None and size == compared.size:
        array = compared
    return array.reshape(extents).astype(tensor.dtype)


def _compared_with(model: OnnxModel, name: str) -> np.ndarray[Any, Any] | None:
    """The constant with which the model compares an input, as for a sampling rate that it knows."""
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
    """The shapes for a changed model: of the inputs that are left, with the extents now fixed."""
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
    """For instance ``The model parses with freeze={"axes": [1]}: this was tried. ...``."""
    arguments = _arguments(changes)
    written = []
    for argument, entries in arguments.items():
        if entries:
            listed = ", ".join(
                f'"{key}": {np.asarray(value).tolist()}' for key, value in entries.items()
            )
            written.append(f"{argument}={{{listed}}}")
    what = (
        "values and extents" if len(written) > 1 else "values" if arguments["freeze"] else "extents"
    )
    return (
        f"The model {does} with {' and '.join(written)}: this was tried. The {what} are examples; "
        "give those that you will run with."
    )
