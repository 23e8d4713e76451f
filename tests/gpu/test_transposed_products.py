"""Products with weights that are transposed are right on the GPU, for every item of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fasttrt
from support.gpu import is_v8, need_precision, report
from support.models import Array
from support.transposed_products import BLOCKS, Block

pytestmark = pytest.mark.gpu

LIMITS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 8e-2}
"""Root of the mean squared error of an item, as a share of its own. Wrong ones exceed 0.5."""


def _error(found: Array, expected: Array) -> float:
    """Give the largest of all items."""
    axes = tuple(range(1, expected.ndim))
    wrong = np.sqrt(np.square(found.astype(np.float64) - expected).mean(axes))
    return float((wrong / np.sqrt(np.square(expected).mean(axes))).max())


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("batches", [(2,), (3,), (2, 1, 4, 3)], ids=["2", "3", "dynamic"])
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_item_is_right(block: Block, batches: tuple[int, ...], precision: Any) -> None:
    need_precision(precision)
    if is_v8() and not block.bias:
        pytest.xfail("TensorRT 8.6.0 gives other values for z, by 1.4 in every type")
    is_dynamic = len(batches) > 1
    proto = block.proto("batch" if is_dynamic else batches[0])
    ends = [{name: x.shape for name, x in block.feeds(size).items()} for size in (1, 2, 4)]
    shapes = {name: tuple(end[name] for end in ends) for name in ends[0]} if is_dynamic else None
    with fasttrt.Engine(proto, device="cuda", precision=precision, shapes=shapes) as engine:
        for batch in batches:
            feeds = block.feeds(batch)
            expected = block.expected(feeds)
            found = engine.infer(feeds)
            errors = {name: _error(found[name], expected[name]) for name in expected}
            report("transposed", block=str(block), batch=batch, precision=precision, **errors)
            assert max(errors.values()) < LIMITS[precision], errors
