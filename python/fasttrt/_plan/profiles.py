"""Optimization profiles: the ranges of shapes that an engine is built for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any, TypeAlias

from fasttrt._common.checks import refuse
from fasttrt._common.log import logger
from fasttrt._common.tensor_spec import Range, Shape
from fasttrt.errors import InputError

ShapeLike: TypeAlias = str | Sequence[int] | Sequence[Sequence[int]]
"""A single shape for min, opt and max; or all three; or either in trtexec's notation:
``"1x3x224x224"``, ``"1x3x224x224:8x3x224x224:32x3x224x224"``."""
Shapes: TypeAlias = Mapping[str, ShapeLike] | Sequence[Mapping[str, ShapeLike]]
"""Shapes by input name: one profile, or a list of profiles."""

# Defaults for dimensions whose names say what they count. The opt batch size is small, as most
# callers send few items at a time; 512 tokens is the size of common encoders' position tables.
_DEFAULTS: tuple[tuple[re.Pattern[str], tuple[int, int, int]], ...] = (
    (re.compile(r"(n|b|bs|batch|batch_?size|.*batch.*)", re.IGNORECASE), (1, 8, 32)),
    (
        re.compile(
            r"(t|seq|seq_?len|sequence|.*sequence_?length|tokens|.*seq_?len)", re.IGNORECASE
        ),
        (1, 128, 512),
    ),
)


@dataclass(frozen=True)
class NetworkInput:
    """An input of the network to be built."""

    name: str
    dtype: str
    shape: Shape
    """The shape; -1 for a dynamic dimension."""
    dimensions: tuple[str, ...]
    """The dimension's name for each axis; ``""`` for none."""
    is_shape: bool
    """Whether profiles give ranges of its values instead of its shape."""

    @property
    def is_dynamic(self) -> bool:
        """Whether profiles must give a range for it."""
        return self.is_shape or -1 in self.shape

    def template(self) -> str:
        """Show how to pass its shape, for messages."""
        if self.is_shape:
            return f'"{self.name}": (min values, opt values, max values)'
        dimensions = ", ".join(
            (name or f"d{axis}") if size < 0 else str(size)
            for axis, (size, name) in enumerate(zip(self.shape, self.dimensions, strict=True))
        )
        shape = f"({dimensions},)" if len(self.shape) == 1 else f"({dimensions})"
        return f'"{self.name}": (min {shape}, opt {shape}, max {shape})'


def parse_range(name: str, value: ShapeLike) -> Range:
    """Parse what the caller passed for one input into (min, opt, max).

    Raises:
        InputError: it has none of the accepted forms.
    """
    expected = (
        f"{name}: expected a shape, a (min, opt, max) of shapes, or trtexec's "
        f'"1x3:8x3:32x3" in shapes=, got {value!r}'
    )
    try:
        if isinstance(value, str):
            parts: Sequence[Sequence[int]] = [
                tuple(int(size) for size in part.split("x")) for part in value.split(":")
            ]
        elif any(isinstance(part, Sequence) for part in value):
            parts = [tuple(map(_size, part)) for part in value]  # type: ignore[arg-type]
        else:
            parts = [tuple(map(_size, value))]
    except (TypeError, ValueError):
        raise InputError(expected) from None
    if len(parts) == 1:
        parts = [parts[0]] * 3
    if len(parts) != 3 or len({len(part) for part in parts}) != 1:
        raise InputError(expected)
    if any(not -(2**63) <= size < 2**63 for part in parts for size in part):
        raise InputError(f"{name}: expected sizes of 64 bits in shapes=, got {value!r}")
    min_, opt, max_ = (tuple(part) for part in parts)
    return min_, opt, max_


def _size(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return index(value)


def resolve(
    inputs: Sequence[NetworkInput], shapes: Shapes | None, use: str = "building for"
) -> list[dict[str, Range]]:
    """Determine the range of every dynamic input, in each profile.

    Dimensions that the caller does not give are taken from inputs in the same profile that share
    the dimension's name, or else guessed from the name if it says batch or sequence. Derived ranges
    are logged, together with their ``use``.

    Raises:
        InputError: a shape does not match the network, or is missing and cannot be derived.
    """
    if shapes is None:
        profiles: Sequence[Mapping[str, ShapeLike]] = [{}]
    elif isinstance(shapes, Mapping):
        profiles = [shapes]
    else:
        check_shapes(shapes)
        profiles = shapes
    if not any(tensor.is_dynamic for tensor in inputs):
        for profile in profiles:
            check_profile(inputs, profile)
        return []
    return [_resolve_profile(inputs, profile, use) for profile in profiles]


def check_shapes(shapes: Any) -> None:
    """Check that ``shapes`` is a mapping, a sequence of one or more mappings, or None.

    Raises:
        InputError: it is none of these.
    """
    expected = "a mapping from input names, as in {'x': (1, 3)}, or a list of them"
    if shapes is None or isinstance(shapes, Mapping):
        return
    if isinstance(shapes, (str, bytes)) or not isinstance(shapes, Sequence):
        refuse("shapes", expected, shapes)
    if not shapes:
        raise InputError("shapes: expected a mapping or a list of mappings, got an empty list")
    if not all(isinstance(profile, Mapping) for profile in shapes):
        refuse("shapes", expected, shapes)


def check_profile(
    inputs: Sequence[NetworkInput], profile: Mapping[str, ShapeLike]
) -> dict[str, Range]:
    """Parse the ranges of one profile and check them against the network.

    Raises:
        InputError: a range does not match the network; the message names the input, what was
            expected and what was passed.
    """
    if not isinstance(profile, Mapping):
        raise InputError(f"shapes: expected a mapping from input names, got {profile!r}")
    known = {tensor.name: tensor for tensor in inputs}
    ranges: dict[str, Range] = {}
    for name, value in profile.items():
        if name not in known:
            names = ", ".join(known)
            raise InputError(f"shapes: the model has no input {name!r}; it has {names}")
        ranges[name] = parse_range(name, value)
        _check_range(known[name], ranges[name])
    return ranges


def _check_range(tensor: NetworkInput, range_: Range) -> None:
    min_, opt, max_ = range_
    ordered = all(a <= b <= c for a, b, c in zip(min_, opt, max_, strict=True))
    if not ordered or (not tensor.is_shape and min(min_, default=0) < 0):
        raise InputError(f"{tensor.name}: expected 0 <= min <= opt <= max in shapes=, got {range_}")
    if tensor.is_shape:
        if -1 not in tensor.shape and len(min_) != prod(tensor.shape):
            raise InputError(
                f"{tensor.name}: expected {prod(tensor.shape)} values (not a shape) for each of "
                f"min, opt and max in shapes=, got {range_}"
            )
        return
    fits = len(min_) == len(tensor.shape) and all(
        size in (-1, a) and size in (-1, c)
        for size, a, c in zip(tensor.shape, min_, max_, strict=True)
    )
    if not fits:
        raise InputError(
            f"{tensor.name}: expected a shape like {tensor.shape} (-1 is dynamic) in shapes=, "
            f"got {range_}"
        )


def _resolve_profile(
    inputs: Sequence[NetworkInput], profile: Mapping[str, ShapeLike], use: str
) -> dict[str, Range]:
    ranges = check_profile(inputs, profile)
    named: dict[str, tuple[int, int, int]] = {}
    for tensor in inputs:
        if tensor.name in ranges and not tensor.is_shape:
            for dimension, *sizes in zip(tensor.dimensions, *ranges[tensor.name], strict=True):
                if dimension and not is_placeholder(dimension):
                    named[dimension] = (sizes[0], sizes[1], sizes[2])
    derived: list[str] = []
    missing: list[str] = []
    for tensor in inputs:
        if tensor.name in ranges or not tensor.is_dynamic:
            continue
        axes = [] if tensor.is_shape else [_derive(tensor, axis, named) for axis in _axes(tensor)]
        if tensor.is_shape or None in axes:
            missing.append(tensor.template())
            continue
        known = [axis for axis in axes if axis is not None]
        ranges[tensor.name] = (
            tuple(axis[0] for axis in known),
            tuple(axis[1] for axis in known),
            tuple(axis[2] for axis in known),
        )
        derived.append(
            f"{tensor.name} min {ranges[tensor.name][0]} opt {ranges[tensor.name][1]} "
            f"max {ranges[tensor.name][2]}"
        )
    if missing:
        raise InputError(
            "the model has dynamic inputs whose shapes cannot be derived; pass "
            f"shapes={{{', '.join(missing)}}}"
        )
    if derived:
        logger.warning("no shapes= passed; %s %s", use, "; ".join(derived))
    return ranges


def _axes(tensor: NetworkInput) -> range:
    return range(len(tensor.shape))


def _derive(
    tensor: NetworkInput, axis: int, named: Mapping[str, tuple[int, int, int]]
) -> tuple[int, int, int] | None:
    size, name = tensor.shape[axis], tensor.dimensions[axis]
    if size >= 0:
        return (size, size, size)
    return named.get(name) or default_sizes(name)


def default_sizes(name: str) -> tuple[int, int, int] | None:
    """Return (min, opt, max) for a dimension whose name says what it counts."""
    for pattern, default in _DEFAULTS:
        if pattern.fullmatch(name):
            return default
    return None


def is_sequence(name: str) -> bool:
    """Return whether a dimension's name says that it counts the elements of a sequence."""
    return _DEFAULTS[1][0].fullmatch(name) is not None


def is_placeholder(dimension: str) -> bool:
    """Return whether a dimension's name only says that it is dynamic, as "?" does."""
    return not re.search(r"[A-Za-z0-9]", dimension) or dimension.lower() in {
        "none", "unk", "unknown", "dynamic", "dyn", "-1",
    }  # fmt: skip


def varies(profiles: Sequence[Mapping[str, Range]]) -> bool:
    """Return whether profiles leave any size open, or differ from each other."""
    ranges = [ends for profile in profiles for ends in profile.values()]
    return len(profiles) > 1 or any(tuple(least) != tuple(most) for least, _, most in ranges)


def ambiguous_dimensions(
    inputs: Sequence[NetworkInput], profiles: Sequence[Mapping[str, Range]]
) -> list[tuple[str, int]]:
    """Find the axes that need a distinct dimension name, as (input, axis).

    TensorRT assumes that dimensions with the same name are equal. That is wrong for placeholders
    and for names to which the profiles give different sizes.
    """
    groups: dict[str, list[tuple[str, int]]] = {}
    for tensor in inputs:
        if tensor.is_shape:
            continue
        for axis, name in enumerate(tensor.dimensions):
            if name and tensor.shape[axis] < 0:
                groups.setdefault(name, []).append((tensor.name, axis))

    def differ(places: list[tuple[str, int]]) -> bool:
        return any(
            len({tuple(part[axis] for part in profile[name]) for name, axis in places}) > 1
            for profile in profiles
        )

    return [
        place
        for name, places in groups.items()
        if len(places) > 1 and (is_placeholder(name) or differ(places))
        for place in places
    ]
