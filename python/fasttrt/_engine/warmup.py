"""Warming an engine up: its sizes are run before anybody waits for them."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from fasttrt import _core
from fasttrt._common.checks import host_memory, is_integer, is_one_of, refuse
from fasttrt._common.log import logger
from fasttrt._common.progress import BuildProgress, ProgressCallback, reporter
from fasttrt._common.tensor_spec import Shape, TensorSpec
from fasttrt._runtime.backend import Backend
from fasttrt._runtime.batching import Batching
from fasttrt.errors import Error, InputError

_PHASE = "Warm-up"
_INT64_MAX = 2**63 - 1
_EXPECTED = (
    "a mapping from the inputs' names to shapes, as in {'x': (8, 784)}, a shape for a single "
    "input, or a list of them"
)
Size: TypeAlias = Mapping[str, Sequence[int]] | Sequence[int]
"""The shape of each input by its name, or that of the only one."""


def warm_up(
    backend: Backend, sizes: Sequence[Sequence[Shape]], progress: ProgressCallback | bool | None
) -> None:
    """Run each of the sizes in every context of every GPU, with zeros for values.

    The largest comes first, so that no buffer has to grow, and move, later. What fails is logged:
    zeros need not be what a model accepts, and the engine is as it was.

    Args:
        backend: what to warm up.
        sizes: a shape, or a shape tensor's values, for each input, from `given_sizes` or
            `tuned_sizes`.
        progress: see `fasttrt.build`; an exception of a callback is passed on.

    Raises:
        Error: the interpreter is ending.
    """
    ordered = sorted(sizes, key=lambda shapes: sum(map(prod, shapes)), reverse=True)
    with reporter(progress if ordered else False) as report:
        for i, shapes in enumerate(ordered):
            report(BuildProgress(_PHASE, "", i, len(ordered)))
            try:
                with host_memory("the inputs"):
                    arrays = _zeros(backend.inputs, shapes)
                backend.warm_up(arrays)
            except Error as error:
                if _core.is_shutting_down():  # nobody is going to use it
                    raise
                logger.warning("the warm-up of %s failed: %s", _described(backend, shapes), error)
        if ordered:
            backend.store_kernels()
            report(BuildProgress(_PHASE, "", len(ordered), len(ordered)))


def check_warmup(warmup: object) -> None:
    """Check the option ``warmup`` of `Engine`.

    Raises:
        InputError: it is none of its values.
    """
    if not is_one_of(warmup, ("auto", True, False)):
        refuse("warmup", '"auto", True or False', warmup)


def is_wanted(warmup: bool | str, metadata: Mapping[str, Any], batching: Batching | None) -> bool:
    """Return whether an engine is to be warmed up before it is used.

    Args:
        warmup: the option of `Engine`.
        metadata: of the plan. A model with a Loop is left out of ``"auto"``: who knows when it ends
            for zeros.
        batching: the option of `Engine`.
    """
    if warmup == "auto":
        is_served = bool(metadata.get("tuned")) or batching is not None
        return is_served and "Loop" not in metadata.get("control_flow", ())
    return bool(warmup)


def tuned_sizes(inputs: Sequence[TensorSpec]) -> list[list[Shape]]:
    """Return the sizes to warm up by default: those of profiles for a single size.

    If there are none, the optimum of each profile.
    """
    ranges = [spec.profiles for spec in inputs]
    if len(set(map(len, ranges))) > 1:  # on the CPU, which only has those that the caller gave
        return []
    profiles = list(zip(*ranges, strict=True))
    fixed = [p for p in profiles if all(min_ == max_ for min_, _, max_ in p)]
    found: list[list[Shape]] = []
    for profile in fixed or profiles:
        shapes = [opt for _, opt, _ in profile]
        if shapes not in found:
            found.append(shapes)
    return found


def given_sizes(inputs: Sequence[TensorSpec], shapes: Any) -> list[list[Shape]]:
    """Return a caller's sizes with a shape, or a shape tensor's values, for each input.

    Inputs with fixed shapes may be left out of a mapping.

    Raises:
        InputError: ``shapes`` is of another form, or does not fit the inputs.
    """
    if isinstance(shapes, Mapping) or _is_shape(shapes):
        shapes = [shapes]
    if not isinstance(shapes, Sequence) or isinstance(shapes, (str, bytes)):
        refuse("shapes", _EXPECTED, shapes)
    return [_given_size(inputs, size) for size in shapes]


def _given_size(inputs: Sequence[TensorSpec], size: Any) -> list[Shape]:
    if _is_shape(size) and len(inputs) == 1:
        size = {inputs[0].name: size}
    if not isinstance(size, Mapping) or not all(map(_is_shape, size.values())):
        refuse("shapes", _EXPECTED, size)
    names = [spec.name for spec in inputs]
    if unknown := [name for name in size if name not in names]:
        raise InputError(f"shapes: there is no input {unknown[0]!r}; the inputs are {names}")
    return [_checked(spec, size.get(spec.name)) for spec in inputs]


def _checked(spec: TensorSpec, given: Sequence[int] | None) -> Shape:
    if given is None:
        if -1 in spec.shape or spec.is_shape:
            raise InputError(f"shapes: expected a shape for {spec.name}, which is dynamic")
        return spec.shape
    sizes = tuple(given)
    if spec.is_shape:
        fits = len(sizes) == prod(spec.shape)
    else:
        fits = len(sizes) == len(spec.shape) and all(
            expected in (-1, got) for expected, got in zip(spec.shape, sizes, strict=True)
        )
    within = not spec.profiles or any(
        len(min_) == len(sizes)
        and all(a <= size <= b for a, size, b in zip(min_, sizes, max_, strict=True))
        for min_, _, max_ in spec.profiles
    )
    if not (fits and within):
        ranges = "; or ".join(f"min {a}, opt {b}, max {c}" for a, b, c in spec.profiles)
        raise InputError(
            f"shapes: {spec.name}: expected {spec.shape} (-1 is any)"
            f"{', ' + ranges if ranges else ''}, got {sizes}"
        )
    return sizes


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, (str, bytes))
        and all(is_integer(size, 0, _INT64_MAX) for size in value)
    )


def _zeros(inputs: Sequence[TensorSpec], shapes: Sequence[Shape]) -> list[np.ndarray[Any, Any]]:
    arrays = []
    for spec, shape in zip(inputs, shapes, strict=True):
        dtype = spec.engine_dtype or spec.dtype
        if spec.is_shape:
            arrays.append(np.array(shape, dtype).reshape(spec.shape))
        else:
            try:
                arrays.append(np.zeros(shape, dtype))
            except ValueError as error:  # more bytes than can be addressed
                raise MemoryError(error) from None
    return arrays


def _described(backend: Backend, shapes: Sequence[Shape]) -> str:
    pairs = zip(backend.inputs, shapes, strict=True)
    return ", ".join(f"{spec.name} {shape}" for spec, shape in pairs)
