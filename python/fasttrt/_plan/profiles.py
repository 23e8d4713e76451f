"""Optimization profiles: what extents an engine is built for."""

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
"""One shape for min, opt and max; or the three; or either as trtexec writes it:
``"1x3x224x224"``, ``"1x3x224x224:8x3x224x224:32x3x224x224"``."""
Shapes: TypeAlias = Mapping[str, ShapeLike] | Sequence[Mapping[str, ShapeLike]]
"""Shapes by input name: one profile, or a list of several."""

# Defaults for extents that are named after what they count. The batch's optimum is small, as most
# callers send little at a time; 512 tokens are what the common encoders' position tables hold.
_DEFAULTS: tuple[tuple[re.Pattern[str], tuple[int, int, int]], ...] = (
    (re.compile(r"(n|b|bs|batch|batch_?size|.*batch.*)", re.I), (1, 8, 32)),
    (
        re.compile(r"(t|seq|seq_?len|sequence|.*sequence_?length|tokens|.*seq_?len)", re.I),
        (1, 128, 512),
    ),
)


@dataclass(frozen=True)
class NetworkInput:
    """An input of the network that is to be built."""

    name: str
    dtype: str
    shape: Shape
    """-1 for an extent that is not fixed."""
    dimensions: tuple[str, ...]
    """A name for each axis, ``""`` for none."""
    is_shape: bool
    """Whether a profile gives its values, not its extents."""

    @property
    def is_dynamic(self) -> bool:
        """Whether a profile has to say something about it."""
        return self.is_shape or -1 in self.shape

    def template(self) -> str:
        """How to pass its shape, for messages."""
        if self.is_shape:
            return f'"{self.name}": (min values, opt values, max values)'
        extents = ", ".join(
            (name or f"d{axis}") if extent < 0 else str(extent)
            for axis, (extent, name) in enumerate(zip(self.shape, self.dimensions, strict=True))
        )
        shape = f"({extents},)" if len(self.shape) == 1 else f"({extents})"
        return f'"{self.name}": (min {shape}, opt {shape}, max {shape})'


def parse_range(name: str, value: ShapeLike) -> Range:
    """(min, opt, max) from what the caller wrote for one input.

    Raises:
        InputError: if it is none of the accepted forms.
    """
    expected = (
        f"{name}: expected a shape, a (min, opt, max) of shapes, or trtexec's "
        f'"1x3:8x3:32x3" in shapes=, got {value!r}'
    )
    try:
        if isinstance(value, str):
            parts: Sequence[Sequence[int]] = [
                tuple(int(extent) for extent in part.split("x")) for part in value.split(":")
            ]
        elif any(isinstance(part, Sequence) for part in value):
            parts = [tuple(index(e) for e in part) for part in value]  # type: ignore[union-attr]
        else:
            parts = [tuple(index(extent) for extent in value)]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(expected) from None
    if len(parts) == 1:
        parts = [parts[0]] * 3
    if len(parts) != 3 or len({len(part) for part in parts}) != 1:
        raise InputError(expected)
    least, best, most = (tuple(part) for part in parts)
    return least, best, most


def resolve(
    inputs: Sequence[NetworkInput], shapes: Shapes | None, use: str = "building for"
) -> list[dict[str, Range]]:
    """A range for every dynamic input, in each profile.

    Extents that the caller does not give come from inputs given in the same profile that share the
    dimension's name, else from the name itself where it says batch or sequence. Those are logged,
    with their ``use``.

    Raises:
        InputError: if a shape does not fit the network, or one is missing and cannot be derived.
    """
    if shapes is None:
        given: Sequence[Mapping[str, ShapeLike]] = [{}]
    elif isinstance(shapes, Mapping):
        given = [shapes]
    else:
        check_shapes(shapes)
        given = shapes
    if not given:
        raise InputError("shapes: expected a mapping or a list of mappings, got an empty list")
    if not any(tensor.is_dynamic for tensor in inputs):
        for profile in given:
            check_profile(inputs, profile)
        return []
    return [_resolve_profile(inputs, profile, use) for profile in given]


def check_shapes(shapes: Any) -> None:
    """See that ``shapes`` is a mapping, or a sequence of them, or None.

    Raises:
        InputError: it is something else.
    """
    expected = "a mapping from input names, as in {'x': (1, 3)}, or a list of them"
    if shapes is None or isinstance(shapes, Mapping):
        return
    if isinstance(shapes, (str, bytes)) or not isinstance(shapes, Sequence):
        refuse("shapes", expected, shapes)
    if not all(isinstance(profile, Mapping) for profile in shapes):
        refuse("shapes", expected, shapes)


def check_profile(
    inputs: Sequence[NetworkInput], profile: Mapping[str, ShapeLike]
) -> dict[str, Range]:
    """The ranges that one profile gives, checked against the network.

    Raises:
        InputError: naming the input, what was expected and what came.
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


def _check_range(tensor: NetworkInput, given: Range) -> None:
    least, best, most = given
    ordered = all(a <= b <= c for a, b, c in zip(least, best, most, strict=True))
    if not ordered or (not tensor.is_shape and min(least, default=0) < 0):
        raise InputError(f"{tensor.name}: expected 0 <= min <= opt <= max in shapes=, got {given}")
    if tensor.is_shape:
        if -1 not in tensor.shape and len(least) != prod(tensor.shape):
            raise InputError(
                f"{tensor.name}: expected {prod(tensor.shape)} values (not a shape) for each of "
                f"min, opt and max in shapes=, got {given}"
            )
        return
    fits = len(least) == len(tensor.shape) and all(
        extent in (-1, a) and extent in (-1, c)
        for extent, a, c in zip(tensor.shape, least, most, strict=True)
    )
    if not fits:
        raise InputError(
            f"{tensor.name}: expected a shape like {tensor.shape} (-1 is dynamic) in shapes=, "
            f"got {given}"
        )


def _resolve_profile(
    inputs: Sequence[NetworkInput], profile: Mapping[str, ShapeLike], use: str
) -> dict[str, Range]:
    ranges = check_profile(inputs, profile)
    named: dict[str, tuple[int, int, int]] = {}
    for tensor in inputs:
        if tensor.name in ranges and not tensor.is_shape:
            for dimension, *extents in zip(tensor.dimensions, *ranges[tensor.name], strict=True):
                if dimension and not is_placeholder(dimension):
                    named[dimension] = (extents[0], extents[1], extents[2])
    derived: list[str] = []
    missing: list[str] = []
    for tensor in inputs:
        if tensor.name in ranges or not tensor.is_dynamic:
            continue
        axes = [] if tensor.is_shape else [_derive(tensor, axis, named) for axis in _axes(tensor)]
        if tensor.is_shape or None in axes:
            missing.append(tensor.template())
            continue
        found = [axis for axis in axes if axis is not None]
        ranges[tensor.name] = (
            tuple(axis[0] for axis in found),
            tuple(axis[1] for axis in found),
            tuple(axis[2] for axis in found),
        )
        derived.append(
            f"{tensor.name} min {ranges[tensor.name][0]} opt {ranges[tensor.name][1]} "
            f"max {ranges[tensor.name][2]}"
        )
    if missing:
        raise InputError(
            "the model has dynamic inputs whose extents cannot be guessed; pass "
            f"shapes={{{', '.join(missing)}}}"
        )
    if derived:
        logger.warning("no shapes= given; %s %s", use, "; ".join(derived))
    return ranges


def _axes(tensor: NetworkInput) -> range:
    return range(len(tensor.shape))


def _derive(
    tensor: NetworkInput, axis: int, named: Mapping[str, tuple[int, int, int]]
) -> tuple[int, int, int] | None:
    extent, name = tensor.shape[axis], tensor.dimensions[axis]
    if extent >= 0:
        return (extent, extent, extent)
    return named.get(name) or default_extents(name)


def default_extents(name: str) -> tuple[int, int, int] | None:
    """(min, opt, max) of a dimension whose name says what it counts."""
    for pattern, default in _DEFAULTS:
        if pattern.fullmatch(name):
            return default
    return None


def is_placeholder(dimension: str) -> bool:
    """Whether a dimension's name says only that it is not fixed, as "?" does."""
    return not re.search(r"[A-Za-z0-9]", dimension) or dimension.lower() in {
        "none", "unk", "unknown", "dynamic", "dyn", "-1",
    }  # fmt: skip


def varies(profiles: Sequence[Mapping[str, Range]]) -> bool:
    """Tell whether profiles leave any size open, or differ from each other."""
    ranges = [ends for profile in profiles for ends in profile.values()]
    return len(profiles) > 1 or any(tuple(least) != tuple(most) for least, _, most in ranges)


def contradictions(
    inputs: Sequence[NetworkInput], profiles: Sequence[Mapping[str, Range]]
) -> list[tuple[str, int]]:
    """Axes that need a name of their own, as (input, axis).

    TensorRT takes dimensions of one name for equal. That holds neither for placeholders nor for
    names to which the profiles give different extents.
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
