"""All cases, each in one placement."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from operators import (
    arithmetic,
    control_flow,
    convolutions,
    elementwise,
    indexing,
    layout,
    matrices,
    normalizations,
    pooling,
    quantization,
    recurrent,
    reductions,
    resizing,
    shapes,
)
from operators.case import Case, random

_LISTS = (
    elementwise,
    reductions,
    layout,
    indexing,
    shapes,
    convolutions,
    arithmetic,
    control_flow,
    pooling,
    resizing,
    normalizations,
    matrices,
    recurrent,
    quantization,
)
_WEIGHTS = {"alone": 3, "inside": 5, "constant": 2, "dynamic": 3, "branch": 1}


def base_cases() -> Iterator[Case]:
    """Each case alone."""
    for module in _LISTS:
        yield from module.cases()


@cache
def _by_name() -> dict[str, Case]:
    return {case.name: case for case in base_cases()}


def find_case(name: str) -> Case:
    """Give the case of a name, in whichever placement."""
    base, _, placement = name.rpartition("/")
    return _by_name()[f"{base}/alone"].placed(placement)


def all_cases(seed: int = 0) -> dict[str, Case]:
    """By name: each case in one of the placements that make sense for it, chosen by a seed."""
    found: dict[str, Case] = {}
    names: set[str] = set()
    for case in base_cases():
        assert case.name not in names, f"two cases of one name: {case.name}"
        names.add(case.name)
        weights = dict(_WEIGHTS)
        if len(case.feeds) < 2:
            del weights["constant"]
        if not any(array.ndim and array.size for array in case.feeds.values()):
            del weights["dynamic"]
        total = sum(weights.values())
        chances = [weight / total for weight in weights.values()]
        chosen = random(f"{case.name} {seed}").choice(list(weights), p=chances)
        placed = case.placed(str(chosen))
        found[placed.name] = placed
    return found
