"""What inputs and outputs are, over all profiles."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fasttrt import TensorSpec
from fasttrt._common.tensor_spec import Range, merge_profiles

SMALL: Range = ((1, 8), (2, 8), (4, 9))
LARGE: Range = ((3, 2), (30, 8), (99, 8))


@pytest.mark.parametrize(
    ("profiles", "merged"),
    [
        ((), (None, None, None)),
        ((SMALL,), SMALL),
        ((SMALL, LARGE), ((1, 2), (2, 8), (99, 9))),
        ((LARGE, SMALL), ((1, 2), (30, 8), (99, 9))),
        ((((), (), ()),), ((), (), ())),
    ],
)
def test_profiles_merge_to_the_least_the_first_and_the_greatest(
    profiles: tuple[Range, ...], merged: tuple[object, ...]
) -> None:
    assert merge_profiles(profiles) == merged


def test_a_spec_tells_whether_values_are_converted() -> None:
    wide, narrow = np.dtype(np.float64), np.dtype(np.float32)
    assert not TensorSpec("x", wide, (1,)).converted
    assert not TensorSpec("x", wide, (1,), engine_dtype=wide).converted
    assert TensorSpec("x", wide, (1,), engine_dtype=narrow).converted
    half = np.dtype(ml_dtypes.bfloat16)
    assert not TensorSpec("x", half, (1,), engine_dtype=np.dtype("bfloat16")).converted
