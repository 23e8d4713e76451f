import asyncio
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fasttrt

Array = NDArray[Any]


def one(engine: fasttrt.Engine, x: NDArray[np.float32]) -> Array:
    y = engine.infer(x)
    print(y.shape, y.sum(), y + 1, y[0])
    return engine.infer(x)


def several(engine: fasttrt.Engine, x: NDArray[np.float32], ids: Array) -> tuple[Array, Array]:
    boxes, scores = engine.infer(x, ids)
    for result in engine.infer(x):
        print(result)
    return boxes, scores


def numbers(engine: fasttrt.Engine) -> Array:
    engine.infer(2.5, 3)
    engine.infer(np.float32(1), True)
    engine.infer(["a", "b"])
    return engine.infer([[1.0, 2.0], [3.0, 4.0]], cast="lossy")


def by_name(engine: fasttrt.Engine, x: Array) -> dict[str, Array]:
    logits = engine.infer({"x": x, "length": 3})["logits"]
    print(logits.argmax(), logits.nbytes)
    return engine.infer({"x": x})


def into(engine: fasttrt.Engine, x: Array, y: NDArray[np.int64]) -> NDArray[np.int64]:
    engine.infer({"x": x}, out={"y": y})
    engine.infer(x, out=[y, None])
    first, second = engine.infer(x, out=(y, y))
    print(first, second)
    return engine.infer(x, out=y)


def later(engine: fasttrt.Engine, xs: list[NDArray[np.float32]]) -> list[Array]:
    futures: list[Future[Array]] = []
    for x in xs:
        futures.append(engine.submit(x))
    named = engine.submit({"x": xs[0]}, timeout=1.5, priority="high").result()["y"]
    engine.submit(xs[0], timeout=None, priority="normal").result(2).sum()
    engine.infer(xs[0], timeout=2, priority="high").sum()
    return [named, *(future.result() for future in futures)]


async def concurrently(engine: fasttrt.Engine, x: Array) -> list[Array]:
    named: dict[str, Array] = await engine.ainfer({"x": x})
    y: Array = await engine.ainfer(x, timeout=0.1, cast=True, priority="high")
    return [*await asyncio.gather(engine.ainfer(x), engine.ainfer(x)), y, *named.values()]


def stream(engine: fasttrt.Engine, xs: list[NDArray[np.float32]]) -> list[Array]:
    for named in engine.map({"x": x} for x in xs):
        print(named["y"].shape)
    for y in engine.map(((x, x) for x in xs), in_flight=4, progress=True, timeout=3):
        print(y.shape)
    for outcome in engine.map(xs, errors="return"):
        if not isinstance(outcome, Exception):
            print(outcome.shape)
    for either in engine.map([{"x": x} for x in xs], errors="return"):
        if not isinstance(either, Exception):
            print(either["y"])
    return list(engine.map(xs))


def under_pressure(model: str, x: Array) -> Array | None:
    engine = fasttrt.Engine(model, max_queue=10)
    try:
        return engine.submit(x, timeout=1).result()
    except (fasttrt.QueueFullError, fasttrt.DeadlineError):
        return None
    finally:
        engine.close(drain=True)
