"""`TensorSpec`: the name, dtype and shape of an engine's input or output."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[Shape, Shape, Shape]
"""(min, opt, max) of one optimization profile."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    """What arrays must hold (inputs) or hold (outputs): the model's declared type."""
    shape: Shape
    """Extents, -1 where they are not fixed. Outputs' are filled in by each run."""
    min: Shape | None = None
    """Inputs: the least extents that some profile takes. For a shape tensor (``is_shape``) its
    least values. None where nothing limits them, and for outputs."""
    opt: Shape | None = None
    """Inputs: the extents that the first profile was tuned for."""
    max: Shape | None = None
    """Inputs: the greatest extents that some profile takes."""
    profiles: tuple[Range, ...] = ()
    """Inputs: (min, opt, max) of every profile."""
    engine_dtype: np.dtype[Any] | None = None
    """What the engine computes with, where that differs from ``dtype``: TensorRT has no float64,
    and 8.6 no int64. Values are converted at the edge."""
    is_shape: bool = False
    """Whether the tensor's values are shapes that TensorRT needs to know before it runs."""

    @property
    def converted(self) -> bool:
        """Whether values are converted between ``dtype`` and ``engine_dtype``."""
        return self.engine_dtype is not None and self.engine_dtype != self.dtype


def merge_profiles(profiles: tuple[Range, ...]) -> tuple[Shape | None, Shape | None, Shape | None]:
    """Combine profiles: the minimum of all min, the first opt, and the maximum of all max."""
    if not profiles:
        return None, None, None
    min_ = tuple(min(sizes) for sizes in zip(*(p[0] for p in profiles), strict=True))
    max_ = tuple(max(sizes) for sizes in zip(*(p[2] for p in profiles), strict=True))
    return min_, profiles[0][1], max_
