# pyright: standard

from typing import Any

import absent_array_library as cupy  # type: ignore[import-not-found]  # pyright: ignore

import fasttrt


def one(engine: fasttrt.Engine, x: cupy.ndarray) -> cupy.ndarray:
    return engine.infer(x)


def by_name(engine: fasttrt.Engine, x: cupy.ndarray) -> dict[str, cupy.ndarray]:
    y = engine.infer({"x": x})["y"]
    print(y.dtype)
    return engine.infer({"x": x})


def anything(engine: fasttrt.Engine, x: Any) -> Any:
    for y in engine.map(x):
        print(y.shape)
    engine.submit(x).result()
    return engine.infer(x)
