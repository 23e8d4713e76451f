"""Tuned sizes: profiles for single sizes, besides the profile for a range."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

from fasttrt._common.checks import is_integer, refuse
from fasttrt._common.tensor_spec import Range, Shape
from fasttrt._plan.profiles import NetworkInput, Shapes, is_placeholder, is_sequence
from fasttrt.errors import InputError

MAX_PROFILES = 32
"""The maximum number of profiles for single sizes."""
_MAX_AUTOMATIC = 8
_INT32_MAX = 2**31 - 1
_EXPECTED = (
    '"auto", None, a list of batch sizes as in [1, 8, 32], or such lists by the name of a '
    'dimension, an input or an axis as in {"batch": [1, 8], "ids.1": [128, 512]}'
)


@dataclass(frozen=True)
class BatchSizes:
    """Batch sizes to tune for where a model has a batch, in place of those of ``"auto"``."""

    sizes: tuple[int, ...]


Sizes: TypeAlias = Sequence[int]
Tuned: TypeAlias = Literal["auto"] | Sizes | Mapping[str, Sizes] | BatchSizes | None
"""The sizes to tune a plan for: those that fasttrt chooses, of the batch, by dimension, or none."""
Request: TypeAlias = Literal["auto"] | BatchSizes | tuple[int, ...] | dict[str, tuple[int, ...]]
"""What `parse_tuned` returns, if it is not None."""


@dataclass(frozen=True)
class _Dimension:
    """Axes of inputs that have the same size in every run."""

    name: str
    """Its name in the model, or else its first axis, as in ``"x.0"``."""
    places: tuple[tuple[str, int], ...]
    """All of its axes, as (input, axis)."""
    sizes: tuple[int, int, int]
    """The min, opt and max of the range."""


def parse_tuned(tuned: Any) -> Request | None:
    """Check ``tuned`` and return it with each list of sizes as an ascending tuple.

    Raises:
        InputError: it has none of the accepted forms.
    """
    if tuned is None or isinstance(tuned, BatchSizes):
        return tuned
    if type(tuned) is str and tuned == "auto":
        return "auto"
    if isinstance(tuned, Mapping):
        if not tuned or not all(isinstance(name, str) for name in tuned):
            refuse("tuned", _EXPECTED, tuned)
        return {name: _parse_sizes(sizes, tuned) for name, sizes in tuned.items()}
    return _parse_sizes(tuned, tuned)


def _parse_sizes(sizes: Any, tuned: Any) -> tuple[int, ...]:
    is_list = isinstance(sizes, Sequence) and not isinstance(sizes, (str, bytes))
    if not is_list or not sizes or not all(is_integer(size, 1, _INT32_MAX) for size in sizes):
        refuse("tuned", _EXPECTED, tuned)
    return tuple(sorted({int(size) for size in sizes}))


def is_automatic(tuned: Request | None) -> bool:
    """Return whether fasttrt decides for which dimensions to tune."""
    return tuned == "auto" or isinstance(tuned, BatchSizes)


def for_family(tuned: Request | None, family: str) -> Request | None:
    """Return what ``tuned`` means for a library: ``"auto"`` is for those that build quickly."""
    return None if is_automatic(tuned) and family != "rtx" else tuned


def tuned_profiles(
    inputs: Sequence[NetworkInput],
    profiles: Sequence[Mapping[str, Range]],
    shapes: Shapes | None,
    tuned: Request | None,
) -> tuple[list[dict[str, Range]], dict[str, list[int]]]:
    """Add a profile for each of the tuned sizes, or each combination of them.

    Args:
        inputs: the network's inputs.
        profiles: the profiles of ``shapes``.
        shapes: the caller's shapes; a list of profiles stays as it is.
        tuned: the sizes, from `parse_tuned`.

    Returns:
        The profiles, those given first, and the tuned sizes by dimension.

    Raises:
        InputError: ``tuned`` does not match the inputs and their ranges, or there are more than
            `MAX_PROFILES` combinations.
    """
    given = [dict(profile) for profile in profiles]
    is_list = shapes is not None and not isinstance(shapes, Mapping)
    if tuned is None or (is_automatic(tuned) and (is_list or not profiles)):
        return given, {}
    if is_list:
        raise InputError("tuned: expected one profile in shapes with it, got a list of profiles")
    if not profiles:
        raise InputError(f"tuned: expected a model with dynamic inputs, got {_names(inputs)}")
    chosen = _choose(inputs, profiles[0], tuned)
    count = 1
    for _, sizes in chosen:
        count *= len(sizes)
    if count > MAX_PROFILES:
        raise InputError(f"tuned: expected at most {MAX_PROFILES} combinations, got {count}")
    if chosen:
        given += _fixed_profiles(profiles[0], chosen)
    return given, {dimension.name: list(sizes) for dimension, sizes in chosen}


def _names(inputs: Sequence[NetworkInput]) -> str:
    return ", ".join(f"{tensor.name} {tensor.shape}" for tensor in inputs) or "no inputs"


def _choose(
    inputs: Sequence[NetworkInput], profile: Mapping[str, Range], tuned: Request
) -> list[tuple[_Dimension, tuple[int, ...]]]:
    """Return the dimensions to tune for, with their sizes."""
    dimensions = list(_free_dimensions(inputs, profile))
    if isinstance(tuned, dict):
        chosen: dict[_Dimension, tuple[int, ...]] = {}
        for name, sizes in tuned.items():
            dimension = _find(name, inputs, dimensions)
            if dimension in chosen:
                raise InputError(f"tuned: expected each dimension once, got {dimension.name} again")
            chosen[dimension] = _within(name, sizes, dimension)
        return list(chosen.items())
    batch = _batch(dimensions)
    if isinstance(tuned, tuple):
        if batch is None:
            raise InputError(
                "tuned: expected inputs with a dynamic dimension 0 of one range for all of them, "
                f"got {_described(dimensions)}; pass sizes by the names of dimensions"
            )
        return [(batch, _within(batch.name, tuned, batch))]
    # A profile that leaves other sizes open gains little, if anything.
    is_alone = len(dimensions) == 1 and not _has_open_values(inputs, profile)
    if batch is None or not is_alone or is_sequence(batch.name):
        return []
    least, opt, most = batch.sizes
    wanted = tuned.sizes if isinstance(tuned, BatchSizes) else _usual_sizes(least, opt, most)
    sizes = tuple(size for size in wanted if least <= size <= most)[:MAX_PROFILES]
    return [(batch, sizes)] if sizes else []


def _free_dimensions(
    inputs: Sequence[NetworkInput], profile: Mapping[str, Range]
) -> Iterator[_Dimension]:
    """Group the axes that a profile leaves open.

    Axes with one name and range are of one dimension; so are those without names that have the
    same place and range.
    """
    groups: dict[tuple[Any, ...], list[tuple[str, int]]] = {}
    for tensor in inputs:
        if tensor.is_shape or tensor.name not in profile:
            continue
        for axis, sizes in enumerate(zip(*profile[tensor.name], strict=True)):
            if sizes[0] == sizes[2]:
                continue
            name = tensor.dimensions[axis]
            key = (axis if not name or is_placeholder(name) else name, *sizes)
            groups.setdefault(key, []).append((tensor.name, axis))
    names = [key[0] for key in groups]
    for (name, least, opt, most), places in groups.items():
        is_unique = isinstance(name, str) and names.count(name) == 1
        title = name if is_unique else "{}.{}".format(*places[0])
        yield _Dimension(title, tuple(places), (least, opt, most))


def _batch(dimensions: Sequence[_Dimension]) -> _Dimension | None:
    """Return dimension 0 of all inputs in which it is open, if it has one range."""
    leading = [d for d in dimensions if any(axis == 0 for _, axis in d.places)]
    if not leading or len({d.sizes for d in leading}) > 1:
        return None
    places = tuple(place for d in leading for place in d.places)
    return _Dimension(leading[0].name, places, leading[0].sizes)


def _has_open_values(inputs: Sequence[NetworkInput], profile: Mapping[str, Range]) -> bool:
    """Return whether a shape tensor has values that a profile leaves open."""
    return any(t.is_shape and profile[t.name][0] != profile[t.name][2] for t in inputs)


def _usual_sizes(least: int, opt: int, most: int) -> tuple[int, ...]:
    """Return the powers of two, or of four if they are many, with opt and max."""
    for factor in (2, 4, 16, 256):
        powers = [factor**n for n in range(_INT32_MAX.bit_length()) if least <= factor**n <= most]
        sizes = tuple(sorted({*powers, max(opt, 1), most}))
        if len(sizes) <= _MAX_AUTOMATIC:
            return sizes
    return (most,)


def _within(name: str, sizes: tuple[int, ...], dimension: _Dimension) -> tuple[int, ...]:
    least, _, most = dimension.sizes
    if sizes[0] < least or sizes[-1] > most:
        raise InputError(f"tuned: {name}: expected sizes from {least} to {most}, got {list(sizes)}")
    return sizes


def _find(
    name: str, inputs: Sequence[NetworkInput], dimensions: Sequence[_Dimension]
) -> _Dimension:
    """Find what a name stands for: a dimension, an axis of an input, or an input's only one."""
    named = {place for t in inputs for place in _axes_named(name, t)}
    found = [d for d in dimensions if named & set(d.places)]
    if not found:
        found = [d for d in dimensions if any(tensor == name for tensor, _ in d.places)]
    if len(found) == 1:
        return found[0]
    if not named and all(tensor.name != name for tensor in inputs):
        problem = f"the model has no dimension or input {name!r}"
    elif found:
        problem = f"{name}: expected one dimension, got one of several"
    else:
        problem = f"{name}: expected a dimension with a range, got a fixed one"
    raise InputError(f"tuned: {problem}; dimensions with a range: {_described(dimensions)}")


def _axes_named(name: str, tensor: NetworkInput) -> Iterator[tuple[str, int]]:
    for axis, dimension in enumerate(tensor.dimensions):
        if dimension == name or f"{tensor.name}.{axis}" == name:
            yield tensor.name, axis


def _described(dimensions: Sequence[_Dimension]) -> str:
    parts = (f"{d.name} from {d.sizes[0]} to {d.sizes[2]}" for d in dimensions)
    return ", ".join(parts) or "none"


def _fixed_profiles(
    profile: Mapping[str, Range], chosen: Sequence[tuple[_Dimension, tuple[int, ...]]]
) -> Iterator[dict[str, Range]]:
    """Yield a profile for each combination of sizes; what is not among them keeps its range."""
    for sizes in product(*(sizes for _, sizes in chosen)):
        at = {
            place: size
            for (dimension, _), size in zip(chosen, sizes, strict=True)
            for place in dimension.places
        }

        def fix(name: str, shape: Shape, at: Mapping[tuple[str, int], int] = at) -> Shape:
            return tuple(at.get((name, axis), size) for axis, size in enumerate(shape))

        yield {
            name: (fix(name, least), fix(name, opt), fix(name, most))
            for name, (least, opt, most) in profile.items()
        }
