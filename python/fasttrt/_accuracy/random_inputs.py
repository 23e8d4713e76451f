"""Random inputs that fit a model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from fasttrt._accuracy.metrics import is_float
from fasttrt._accuracy.value_ranges import default_range, integer_ranges
from fasttrt._common.checks import host_memory
from fasttrt._common.host_array import Array
from fasttrt._common.tensor_spec import Range, Shape, TensorSpec
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.profiles import NetworkInput, resolve
from fasttrt.errors import InputError

Ranges: TypeAlias = Mapping[str, tuple[float, float]]


class InputGenerator:
    """Draws samples.

    Floats are normally distributed with variance 1; integers and booleans uniformly within what
    `integer_ranges` finds; what ``ranges`` names uniformly within that.

    The first sample has the extents that the first profile is tuned for, then come its least and
    its greatest ones, then those of the next profile, and so on again.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        model: OnnxModel | None,
        ranges: Ranges | None,
        seed: int,
    ) -> None:
        """Find out what to draw.

        Args:
            specs: the inputs.
            model: tells which integers are indices; None for a plan, whose profiles are whole.
            ranges: ``{"input": (least, most)}``.
            seed: of the values.

        Raises:
            InputError: ``ranges`` does not fit the model, or an extent cannot be guessed.
        """
        self._specs = specs
        self._rng = np.random.default_rng(seed)
        self._profiles = _profiles(specs, model)
        self._given = _checked(ranges or {}, specs)
        self._inferred = {} if model is None else integer_ranges(model.proto)

    def samples(self, count: int) -> Iterator[dict[str, Array]]:
        """So many samples, arrays by name."""
        for number in range(count):
            profile = self._profiles[number // 3 % len(self._profiles)]
            which = (1, 0, 2)[number % 3]  # opt, min, max
            yield {spec.name: self._draw(spec, profile[spec.name][which]) for spec in self._specs}

    def sample(self, batch: int | None = None) -> dict[str, Array]:
        """One sample of the extents that the first profile is tuned for.

        Args:
            batch: the first extent of every input whose first one is not fixed.
        """
        extents = {spec.name: self._profiles[0][spec.name][1] for spec in self._specs}
        if batch is not None:
            for spec in self._specs:
                if not spec.is_shape and spec.shape[:1] == (-1,):
                    extents[spec.name] = (batch, *extents[spec.name][1:])
        return {spec.name: self._draw(spec, extents[spec.name]) for spec in self._specs}

    def described(self, spec: TensorSpec) -> str:
        """What is drawn for an input, in words."""
        if spec.is_shape:
            return "the profile's values"
        if spec.name in self._given:
            least, most = self._given[spec.name]
            return f"{least:g} to {most:g} (given)"
        if is_float(spec.dtype):
            return "normal"
        least, most = self._inferred.get(spec.name) or default_range(spec.dtype)
        return f"{least} to {most - 1}" + (" (indices)" if spec.name in self._inferred else "")

    def _draw(self, spec: TensorSpec, extents: Shape) -> Array:
        with host_memory(f"{spec.name}: random values of shape {extents}"):
            try:
                return self._drawn(spec, extents)
            except ValueError as error:  # numpy's, of shapes beyond any address
                if isinstance(error, InputError):
                    raise
                raise InputError(
                    f"{spec.name}: random values of shape {extents}: {error}"
                ) from error

    def _drawn(self, spec: TensorSpec, extents: Shape) -> Array:
        if spec.is_shape:
            return np.array(extents, spec.dtype).reshape(spec.shape)
        given = self._given.get(spec.name)
        if is_float(spec.dtype):
            if given is None:
                return np.asarray(self._rng.standard_normal(extents)).astype(spec.dtype)
            return np.asarray(self._rng.uniform(*given, extents)).astype(spec.dtype)
        least, most = self._inferred.get(spec.name) or default_range(spec.dtype)
        if given is not None:
            least, most = int(given[0]), int(given[1])
        return np.asarray(self._rng.integers(least, most, extents)).astype(spec.dtype)


def _checked(ranges: Ranges, specs: Sequence[TensorSpec]) -> dict[str, tuple[float, float]]:
    known = {spec.name: spec for spec in specs}
    for name, given in ranges.items():
        if name not in known:
            raise InputError(f"ranges: the model has no input {name!r}; it has {', '.join(known)}")
        try:
            least, most = given
            valid = least < most
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise InputError(
                f"ranges: {name}: expected (least, most), most excluded, got {given!r}"
            )
    return dict(ranges)


def _profiles(specs: Sequence[TensorSpec], model: OnnxModel | None) -> list[dict[str, Range]]:
    count = max((len(spec.profiles) for spec in specs), default=0) or 1
    profiles: list[dict[str, Range]] = []
    for number in range(count):
        profiles.append({s.name: s.profiles[number] for s in specs if number < len(s.profiles)})
    missing = [s for s in specs if -1 in s.shape and not s.profiles]
    if missing and model is not None:
        inputs = [_network_input(spec, model) for spec in specs]
        guessed = resolve(inputs, profiles[0] or None, use="drawing inputs of")[0]
        for profile in profiles:
            profile |= {spec.name: guessed[spec.name] for spec in missing}
    for profile in profiles:
        for spec in specs:
            profile.setdefault(spec.name, (spec.shape,) * 3)
    return profiles


def _network_input(spec: TensorSpec, model: OnnxModel) -> NetworkInput:
    declared = next((t for t in model.inputs if t.name == spec.name), None)
    shape = (declared and declared.shape) or spec.shape
    names = tuple(extent if isinstance(extent, str) else "" for extent in shape)
    return NetworkInput(spec.name, str(spec.dtype), spec.shape, names, spec.is_shape)
