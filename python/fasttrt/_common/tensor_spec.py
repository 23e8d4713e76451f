"""`TensorSpec`: the name, dtype and shape of an engine's input or output."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]
Range: TypeAlias = tuple[Shape, Shape, Shape]
"""(min, opt, max) of one optimization profile."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of an engine.

    Attributes:
        name: The tensor's name in the model.
        dtype: The dtype of its arrays, as the model declares it.
        shape: The shape; -1 for a dynamic dimension. Each run determines those of outputs.
        min: Inputs: the minimum of each dimension over all profiles. For a shape tensor
            (``is_shape``), the minimum of its values. None if there is no limit, and for outputs.
        opt: Inputs: the shape that the first profile is optimized for.
        max: Inputs: the maximum of each dimension over all profiles.
        profiles: Inputs: (min, opt, max) of every profile.
        engine_dtype: The dtype that the engine computes with, if that differs from ``dtype``:
            TensorRT has no float64, and 8.6 no int64. Values are converted on the way in and out.
        is_shape: Whether it is a shape tensor, whose values TensorRT needs to know before a run.

    Examples:
        >>> engine = fasttrt.Engine("m.onnx")
        >>> spec = engine.inputs[0]
        >>> spec.name, str(spec.dtype), spec.shape[1:]
        ('x', 'float32', (784,))
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    min: Shape | None = None
    opt: Shape | None = None
    max: Shape | None = None
    profiles: tuple[Range, ...] = ()
    engine_dtype: np.dtype[Any] | None = None
    is_shape: bool = False

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
