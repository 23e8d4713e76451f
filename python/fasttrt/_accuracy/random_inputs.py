"""Generate random inputs that fit a model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from fasttrt._accuracy.metrics import is_float
from fasttrt._accuracy.value_ranges import default_range, integer_ranges
from fasttrt._common.checks import host_memory, refuse
from fasttrt._common.host_array import Array
from fasttrt._common.tensor_spec import Range, Shape, TensorSpec
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.profiles import NetworkInput, resolve
from fasttrt.errors import InputError

Ranges: TypeAlias = Mapping[str, tuple[float, float]]


class InputGenerator:
    """Generate random samples.

    Floats are normally distributed with variance 1; integers and booleans uniformly within
    `integer_ranges`; inputs in ``ranges`` uniformly within their range.

    The first sample has the opt shapes of the first profile, the next ones its min and max shapes,
    then follow those of the next profile, and so on in turn.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        model: OnnxModel | None,
        ranges: Ranges | None,
        seed: int,
    ) -> None:
        """Determine the shapes and the distributions.

        Args:
            specs: the inputs.
            model: the model, which shows which integers are indices; None for a plan, whose
                profiles are complete.
            ranges: ``{"input": (min, max)}``, max excluded.
            seed: the seed of the values.

        Raises:
            InputError: an input is of strings, ``ranges`` does not match the model, or a shape
                cannot be derived.
        """
        for spec in specs:
            if spec.dtype.kind in "OSU":
                raise InputError(f"{spec.name}: random strings are not generated; pass inputs=")
        self._specs = specs
        self._rng = np.random.default_rng(seed)
        self._profiles = _profiles(specs, model)
        self._user_ranges = _check_ranges(ranges or {}, specs)
        self._inferred = {} if model is None else integer_ranges(model.proto)

    def samples(self, count: int) -> Iterator[dict[str, Array]]:
        """Generate ``count`` samples, each a mapping from names to arrays."""
        for number in range(count):
            profile = self._profiles[number // 3 % len(self._profiles)]
            which = (1, 0, 2)[number % 3]  # opt, min, max
            yield {spec.name: self._draw(spec, profile[spec.name][which]) for spec in self._specs}

    def sample(self, batch: int | None = None) -> dict[str, Array]:
        """Generate one sample with the opt shapes of the first profile.

        Args:
            batch: the first dimension of every input for which it is dynamic.
        """
        shape = {spec.name: self._profiles[0][spec.name][1] for spec in self._specs}
        if batch is not None:
            for spec in self._specs:
                if not spec.is_shape and spec.shape[:1] == (-1,):
                    shape[spec.name] = (batch, *shape[spec.name][1:])
        return {spec.name: self._draw(spec, shape[spec.name]) for spec in self._specs}

    def describe(self, spec: TensorSpec) -> str:
        """Describe an input's distribution in words."""
        if spec.is_shape:
            return "the profile's values"
        if spec.name in self._user_ranges:
            min_, max_ = self._user_ranges[spec.name]
            return f"{min_:g} to {max_:g} (given)"
        if is_float(spec.dtype):
            return "normal"
        min_, max_ = self._inferred.get(spec.name) or default_range(spec.dtype)
        return f"{min_} to {max_ - 1}" + (" (indices)" if spec.name in self._inferred else "")

    def _draw(self, spec: TensorSpec, shape: Shape) -> Array:
        with host_memory(f"{spec.name}: random values of shape {shape}"):
            try:
                return self._generate(spec, shape)
            except ValueError as error:  # numpy's, for shapes beyond the address space
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{spec.name}: random values of shape {shape}: {error}") from error

    def _generate(self, spec: TensorSpec, shape: Shape) -> Array:
        if spec.is_shape:
            return np.array(shape, spec.dtype).reshape(spec.shape)
        range_ = self._user_ranges.get(spec.name)
        if is_float(spec.dtype):
            if range_ is None:
                return np.asarray(self._rng.standard_normal(shape)).astype(spec.dtype)
            return np.asarray(self._rng.uniform(*range_, shape)).astype(spec.dtype)
        min_, max_ = self._inferred.get(spec.name) or default_range(spec.dtype)
        if range_ is not None:
            min_, max_ = int(range_[0]), int(range_[1])
        return np.asarray(self._rng.integers(min_, max_, shape)).astype(spec.dtype)


def _check_ranges(ranges: Ranges, specs: Sequence[TensorSpec]) -> dict[str, tuple[float, float]]:
    known = {spec.name: spec for spec in specs}
    for name, range_ in ranges.items():
        if name not in known:
            raise InputError(f"ranges: the model has no input {name!r}; it has {', '.join(known)}")
        try:
            min_, max_ = range_
            valid = (
                all(isinstance(v, Real) and math.isfinite(v) for v in (min_, max_)) and min_ < max_
            )
        except (TypeError, ValueError, OverflowError):
            valid = False
        if not valid:
            refuse(f"ranges: {name}", "finite (min, max), max excluded", range_)
        _check_values(name, min_, max_, known[name].dtype)
    return dict(ranges)


def _check_values(name: str, min_: float, max_: float, dtype: "np.dtype[Any]") -> None:
    """Check that a dtype has the values of a range, and that numpy can draw from it."""
    import ml_dtypes

    least: float
    most: float
    if is_float(dtype):
        about: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
        least, most, fits = float(about.min), float(about.max), True
    else:
        least, most = 0, 2
        if dtype.kind != "b":
            about = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
            least, most = int(about.min), int(about.max) + 1
        fits = int(min_) == min_ and int(max_) == max_
    if not (fits and least <= min_ and max_ <= most):
        kind = "numbers" if is_float(dtype) else "integers"
        refuse(f"ranges: {name}", f"{kind} from {least} to {most} for {dtype}", (min_, max_))
    if not math.isfinite(float(max_) - float(min_)):
        refuse(f"ranges: {name}", "a finite max - min", (min_, max_))


def _profiles(specs: Sequence[TensorSpec], model: OnnxModel | None) -> list[dict[str, Range]]:
    count = max((len(spec.profiles) for spec in specs), default=0) or 1
    profiles: list[dict[str, Range]] = []
    for number in range(count):
        profiles.append({s.name: s.profiles[number] for s in specs if number < len(s.profiles)})
    missing = [s for s in specs if -1 in s.shape and not s.profiles]
    if missing and model is not None:
        inputs = [_network_input(spec, model) for spec in specs]
        guessed = resolve(inputs, profiles[0] or None, use="random inputs of")[0]
        for profile in profiles:
            profile |= {spec.name: guessed[spec.name] for spec in missing}
    for profile in profiles:
        for spec in specs:
            profile.setdefault(spec.name, (spec.shape,) * 3)
    return profiles


def _network_input(spec: TensorSpec, model: OnnxModel) -> NetworkInput:
    declared = next((t for t in model.inputs if t.name == spec.name), None)
    shape = (declared and declared.shape) or spec.shape
    names = tuple(size if isinstance(size, str) else "" for size in shape)
    return NetworkInput(spec.name, str(spec.dtype), spec.shape, names, spec.is_shape)
