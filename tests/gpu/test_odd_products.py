"""Products over an odd number of computed elements are right on the GPU."""

from __future__ import annotations

import numpy as np
import pytest

import fasttrt
from support.odd_products import PRODUCTS, Product

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_the_answers_are_onnxs(product: Product) -> None:
    config = fasttrt.BuildConfig(tf32=False)
    with fasttrt.Engine(
        product.proto(), device="cuda", config=config, shapes=product.shapes()
    ) as engine:
        for size in product.sizes():
            feeds = product.feeds(size)
            expected = product.expected(feeds)
            (found,) = engine.infer(feeds).values()
            limit = 1e-3 * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=limit)
