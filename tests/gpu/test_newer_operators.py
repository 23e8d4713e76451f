"""Forms of operators added after opset 14: the same results with every TensorRT."""

from __future__ import annotations

import pytest

from support.assertions import assert_close
from support.gpu import open_engine, product_tolerance
from support.newer_operators import NEWER_OPERATORS

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", NEWER_OPERATORS)
def test_newer_operators(name: str) -> None:
    model = NEWER_OPERATORS[name]()
    (declared,) = model.proto.graph.input
    is_dynamic = bool(declared.type.tensor_type.shape.dim[0].dim_param)
    shapes = {"x": ((1, 6, 7), (3, 6, 7), (8, 6, 7))} if is_dynamic else None
    with open_engine(model, shapes=shapes) as engine:
        for batch in (3, 8, 1) if is_dynamic else (1, 1):
            (x,) = model.inputs(batch=batch)
            assert_close(engine.infer(x), model.reference(x), product_tolerance())
