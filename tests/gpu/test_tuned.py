"""A profile for each of a few sizes besides the range, each with its own context and graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fasttrt
from support.assertions import assert_close
from support.gpu import is_rtx, need_torch, normal, open_engine, product_tolerance
from support.models import Model, attention
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SIZES = (1, 2, 4, 8, 16, 32)
RANGE = {"x": ((1, 16), (8, 16), (32, 16))}


@pytest.fixture(scope="module")
def plan(mlp_model: Model) -> fasttrt.Plan:
    return fasttrt.build(mlp_model.proto, shapes=RANGE, tuned=SIZES, device="cuda")


@pytest.fixture(scope="module", params=[1, 2])
def engine(request: pytest.FixtureRequest, plan: fasttrt.Plan) -> Iterator[fasttrt.Engine]:
    with fasttrt.Engine(plan, device="cuda", contexts=request.param) as engine:
        yield engine


def test_an_engine_tells_its_profiles(engine: fasttrt.Engine, mlp_model: Model) -> None:
    (x,) = engine.inputs
    assert (x.shape, x.min, x.opt, x.max) == ((-1, 16), *RANGE["x"])
    assert x.profiles == (RANGE["x"], *(((n, 16),) * 3 for n in SIZES))
    (y,) = engine.outputs
    assert y.shape == (-1, 8)


def test_it_is_the_default_with_tensorrt_rtx(mlp_model: Model) -> None:
    with open_engine(mlp_model, shapes=RANGE) as engine:
        assert len(engine.inputs[0].profiles) == (1 + len(SIZES) if is_rtx() else 1)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_sizes_take_turns(engine: fasttrt.Engine, mlp_model: Model, on_gpu: bool) -> None:
    """Graphs of one size are replayed after runs of others, tuned or not."""
    rng = new_rng()
    torch: Any = need_torch() if on_gpu else None
    for batch in rng.integers(1, 33, 400):
        x = normal(int(batch), 16)
        y: Any = engine.infer(x if torch is None else torch.from_numpy(x).cuda())
        assert_close(
            y if torch is None else y.cpu().numpy(), mlp_model.reference(x), product_tolerance()
        )


def test_runs_that_are_queued_in_a_row(engine: fasttrt.Engine, mlp_model: Model) -> None:
    """Contexts of several sizes share memory, so that each has to wait for the one before."""
    torch: Any = need_torch()
    rng = new_rng()
    streams = [torch.cuda.Stream() for _ in range(2)]
    for _ in range(50):
        xs = [normal(int(batch), 16) for batch in rng.choice([*SIZES, 3, 20], 8)]
        on_gpu = [torch.from_numpy(x).cuda() for x in xs]
        torch.cuda.synchronize()
        ys = [
            engine.infer(
                x, stream=streams[int(rng.integers(2))], out=torch.empty((len(x), 8)).cuda()
            )
            for x in on_gpu
        ]
        torch.cuda.synchronize()
        for x, y in zip(xs, ys, strict=True):
            assert_close(y.cpu().numpy(), mlp_model.reference(x), product_tolerance())


def test_profiles_in_any_order_may_be_batched(mlp_model: Model) -> None:
    """TensorRT reports the outputs' shapes in the first profile, which is of one size here."""
    fixed = [{"x": (n, 16)} for n in SIZES]
    for shapes in ([*fixed, RANGE], [fixed[-1], RANGE], [*fixed[1:], fixed[0]]):
        with open_engine(mlp_model, shapes=shapes, batching=fasttrt.Batching(32)) as engine:
            assert engine.inputs[0].shape == (-1, 16)
            assert engine.outputs[0].shape == (-1, 8)
            xs = [normal(1, 16) for _ in range(40)]
            for x, y in zip(xs, [engine.submit(x) for x in xs], strict=True):
                assert_close(y.result(), mlp_model.reference(x), product_tolerance())


def test_sequence_lengths_are_tuned_on_request() -> None:
    model = attention()
    lengths = [16, 64]
    with open_engine(model, tuned={"sequence": lengths, "batch": [1, 4]}) as engine:
        assert len(engine.inputs[0].profiles) == 5
        rng = new_rng()
        for _ in range(60):
            length = int(rng.choice([*lengths, 5, 33, 200]))
            x = normal(int(rng.choice([1, 4, 7])), length, 8)
            assert_close(engine.infer(x), model.reference(x), product_tolerance())


def test_a_size_that_the_range_alone_takes(engine: fasttrt.Engine, mlp_model: Model) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        engine.infer(normal(33, 16))
    expected = "x: expected shape min (1, 16), opt (8, 16), max (32, 16), got (33, 16)"
    assert str(caught.value) == expected
    for batch in (32, 31):
        x = normal(batch, 16)
        assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


@pytest.mark.parametrize("specialization", ["lazy", "none"])
def test_kernels_that_are_compiled_in_the_background_or_never(
    plan: fasttrt.Plan, mlp_model: Model, specialization: Any
) -> None:
    rng = new_rng()
    with fasttrt.Engine(plan, device="cuda", specialization=specialization) as engine:
        for batch in rng.integers(1, 33, 200):
            x = normal(int(batch), 16)
            assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


def test_contexts_are_renewed_by_profile(plan: fasttrt.Plan, mlp_model: Model) -> None:
    """A context with many changes of shape is made anew, while others keep their graphs."""
    with fasttrt.Engine(plan, device="cuda", contexts=1, specialization="none") as engine:
        rng = np.random.default_rng(3)
        for i in range(2300):
            batch = int(rng.choice([3, 5, 6, 7])) if i % 50 else int(rng.choice(SIZES))
            x = normal(batch, 16)
            y = engine.infer(x)
            if i % 50 < 2:
                assert_close(y, mlp_model.reference(x), product_tolerance())
