"""Runs of one engine that overlap on the GPU give the answers that they give alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest

import fasttrt
from support.convolution_sums import Form
from support.gpu import report
from support.randomness import new_rng

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]

CONTEXTS, THREADS, RUNS = 4, 16, 8_000

# TensorRT-RTX 1.6.1, left to itself, let 1 of 150 runs of sixteen such blocks read a skip that was
# not there yet: with so many runs some 50.
_BLOCK = (
    "f{i} = Conv(t{i}, u3) g{i} = Relu(f{i}) h{i} = Conv<pads = [1, 1, 1, 1]>(g{i}, w2) "
    "k{i} = Relu(h{i}) l{i} = Conv(k{i}, w3, b3) m{i} = Mul(l{i}, third) "
    "s{i} = Add(m{i}, t{i}) t{n} = Relu(s{i}) "
)
_FORM = Form(
    "sixteen blocks",
    "q = Conv(x, w4, b4) t0 = Relu(q) "
    "third = Constant<value = float {0.3}>() "
    + "".join(_BLOCK.format(i=i, n=i + 1) for i in range(16))
    + "y = Neg(t16)",
)


@pytest.mark.parametrize("cuda_graph", ["auto", False])
@pytest.mark.parametrize("size", [(1, 64, 28), (1, 256, 7)], ids=str)
def test_they_are_what_they_are_alone(
    size: tuple[int, int, int], cuda_graph: Literal["auto", False]
) -> None:
    rng = new_rng()
    batch, channels, side = size
    xs = [rng.standard_normal((batch, channels, side, side)) for _ in range(8)]
    with fasttrt.Engine(
        _FORM.proto(*size), device="cuda", precision="fp16", cache=False, contexts=CONTEXTS,
        cuda_graph=cuda_graph,
    ) as engine:  # fmt: skip
        inputs = [x.astype(engine.inputs[0].dtype) for x in xs]
        alone = [engine.infer(x) for x in inputs]
        assert all(np.abs(y - alone[0]).max() > 0.01 for y in alone[1:])  # they can be told apart

        def client(index: int) -> Any:
            picked = np.random.default_rng(index).integers(len(inputs), size=RUNS // THREADS)
            return [float(np.abs(engine.infer(inputs[i]) - alone[i]).max()) for i in picked]

        with ThreadPoolExecutor(THREADS) as pool:
            errors = np.array(list(pool.map(client, range(THREADS)))).ravel()
    largest = max(float(np.abs(y).max()) for y in alone)
    wrong = int((errors > 2e-3 * largest).sum())
    report(
        "overlapping_runs", size=str(size), cuda_graph=cuda_graph, wrong=wrong, runs=len(errors),
        worst=float(errors.max() / largest),
    )  # fmt: skip
    assert wrong == 0
