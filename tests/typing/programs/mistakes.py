from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import fasttrt


async def inputs(engine: fasttrt.Engine, x: NDArray[Any], t: torch.Tensor) -> None:
    engine.infer("hello")  # error: arg-type
    engine.infer(None)  # error: call-overload
    engine.infer([x, x])  # error: arg-type
    engine.infer({"x": "hello"})  # error: dict-item
    engine.infer({1: x})  # error: dict-item
    engine.infer(x, y=x)  # error: call-overload
    engine.infer(x, out="y")  # error: arg-type
    engine.infer(x, cast="lossless")  # error: call-overload
    engine.submit("hello")  # error: arg-type
    await engine.ainfer("hello")  # error: arg-type
    engine.infer(x, priority="urgent")  # error: call-overload
    engine.submit(x, timeout="1")  # error: call-overload
    await engine.ainfer(x, timout=1)  # error: call-overload
    engine.map("hello")  # error: arg-type
    engine.map([x], errors="ignore")  # error: call-overload


async def results(engine: fasttrt.Engine, x: NDArray[Any], t: torch.Tensor) -> torch.Tensor:
    engine.infer(x).shap  # error: union-attr
    engine.infer({"x": x})["y"].shap  # error: attr-defined
    engine.infer(t).shap  # error: union-attr
    engine.submit(x).result().shap  # error: union-attr
    (await engine.ainfer({"x": x})).shape  # error: attr-defined
    next(engine.map([x])).shap  # error: union-attr
    a: str = engine.infer(x)  # error: assignment
    b: NDArray[np.int64] = engine.infer(x, out=t)  # error: arg-type
    return engine.infer(x)  # error: no-any-return


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def options(t: torch.Tensor) -> None:
    fasttrt.compare("m.onnx", presicion="fp16")  # error: call-arg
    fasttrt.compare("m.onnx", precision="fp61")  # error: arg-type
    fasttrt.build("m.onnx", tuned="observed")  # error: arg-type
    fasttrt.from_torch(Net(), t, presicion="fp16")  # error: call-arg
    fasttrt.from_torch(Net(), t, shapes={"x": (1, 2)})  # error: call-arg
    fasttrt.from_torch("hello", t)  # error: arg-type
    fasttrt.from_torch(Net(), t)("hello")  # error: arg-type
    fasttrt.from_torch(Net(), t)(t).shap  # error: attr-defined
    fasttrt.quantize("m.onnx", [], presicion="fp16")  # error: call-arg
