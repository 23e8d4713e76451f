"""Sizes that come often get plans of their own, from the background, while runs go on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._runtime import observed_sizes
from support.assertions import assert_close
from support.gpu import is_rtx, normal, open_engine, product_tolerance
from support.models import Model, convolution

pytestmark = pytest.mark.gpu
PATIENCE = 60
SHAPES = {"x": ((1, 4, 8, 8), (2, 4, 16, 16), (8, 4, 64, 64))}
OFTEN = (3, 4, 24, 20)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_rtx():
        pytest.skip("TensorRT-RTX alone builds in the background")
    defaults: Any = observed_sizes.ObservedSizes.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "often", 20)


def _check(engine: fasttrt.Engine, model: Model, *shape: int) -> None:
    x = normal(*shape)
    assert_close(engine.infer(x), model.reference(x), product_tolerance())


def _run_until_ready(engine: fasttrt.Engine, model: Model, shape: tuple[int, ...]) -> None:
    backend: Any = engine._backend
    end = time.monotonic() + PATIENCE
    while {"x": shape} not in backend.observed_shapes:
        assert time.monotonic() < end
        _check(engine, model, *shape)


def test_a_size_that_comes_often_is_taken_over_and_kept(tmp_path: Path) -> None:
    model = convolution()
    with open_engine(model, shapes=SHAPES, tuned="observed", cache=tmp_path) as engine:
        _run_until_ready(engine, model, OFTEN)
        for _ in range(20):
            _check(engine, model, *OFTEN)
            _check(engine, model, 2, 4, 9, 30)
        with pytest.raises(fasttrt.InputError):
            engine.infer(normal(9, 4, 8, 8))
    with open_engine(model, shapes=SHAPES, tuned="observed", cache=tmp_path) as engine:
        backend: Any = engine._backend
        end = time.monotonic() + PATIENCE
        while not backend.observed_shapes:  # without a run
            assert time.monotonic() < end
            time.sleep(0.01)
        assert backend.observed_shapes == [{"x": OFTEN}]
        _check(engine, model, *OFTEN)


def test_threads_run_on_while_plans_come(tmp_path: Path) -> None:
    model = convolution()
    problems: list[BaseException] = []
    shapes = [(2, 4, 10 + 7 * i, 20) for i in range(3)]
    with open_engine(model, shapes=SHAPES, tuned="observed", cache=tmp_path) as engine:
        backend: Any = engine._backend
        end = time.monotonic() + PATIENCE

        def work(shape: tuple[int, ...]) -> None:
            try:
                while len(backend.observed_shapes) < len(shapes):
                    assert time.monotonic() < end
                    _check(engine, model, *shape)
                for _ in range(20):
                    _check(engine, model, *shape)
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(shape,)) for shape in shapes * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems


def test_refitting_reaches_all_plans(tmp_path: Path) -> None:
    model = convolution()
    config = fasttrt.BuildConfig(refit=True)
    with open_engine(
        model, shapes=SHAPES, tuned="observed", cache=tmp_path, config=config
    ) as engine:
        _run_until_ready(engine, model, OFTEN)
        other = convolution()
        engine.refit(other.proto)
        for shape in (OFTEN, (2, 4, 9, 30)):
            _check(engine, other, *shape)


def test_what_cannot_be_observed_is_refused(mlp_model: Model) -> None:
    with pytest.raises(fasttrt.InputError, match="expected no batching with it"):
        open_engine(mlp_model, tuned="observed", batching=fasttrt.Batching(8))
    with pytest.raises(fasttrt.InputError, match="observed"):
        fasttrt.build(mlp_model.proto, tuned="observed")  # type: ignore[arg-type]


def test_closing_does_not_wait_for_a_build(tmp_path: Path) -> None:
    model = convolution()
    engine = open_engine(model, shapes=SHAPES, tuned="observed", cache=tmp_path)
    for _ in range(21):
        _check(engine, model, *OFTEN)
    begin = time.monotonic()
    engine.close()
    assert time.monotonic() - begin < PATIENCE
    with pytest.raises(fasttrt.Error):
        engine.infer(np.zeros(OFTEN, np.float32))
