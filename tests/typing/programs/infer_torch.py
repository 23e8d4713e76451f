from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import fasttrt


def one(engine: fasttrt.Engine, x: torch.Tensor) -> torch.Tensor:
    y = engine.infer(x)
    print(y.dtype, y + 1)
    return engine.infer(x, stream=7)


def mixed(engine: fasttrt.Engine, x: torch.Tensor, ids: NDArray[np.int64]) -> torch.Tensor:
    feeds: dict[str, torch.Tensor | NDArray[np.int64]] = {"x": x, "ids": ids}
    print(engine.infer(x, ids).dtype, engine.infer(feeds)["y"].dtype)
    return engine.infer(ids, x)


def several(engine: fasttrt.Engine, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    boxes, scores = engine.infer(x)
    return boxes, scores


def by_name(engine: fasttrt.Engine, x: torch.Tensor) -> Mapping[str, torch.Tensor]:
    return engine.infer({"x": x})


def by_name_of_its_own(engine: fasttrt.Engine, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return engine.infer({"x": x})


def into(engine: fasttrt.Engine, x: NDArray[np.float32], y: torch.Tensor) -> torch.Tensor:
    engine.infer({"x": x}, out={"y": y})
    engine.infer(x, out=[y, None])
    return engine.infer(x, out=y)


def later(engine: fasttrt.Engine, x: torch.Tensor) -> Future[torch.Tensor]:
    return engine.submit(x)


async def concurrently(engine: fasttrt.Engine, x: torch.Tensor) -> torch.Tensor:
    return await engine.ainfer(x)


def stream(engine: fasttrt.Engine, xs: list[torch.Tensor]) -> list[torch.Tensor]:
    for named in engine.map({"x": x} for x in xs):
        print(named["y"].dtype)
    for y in engine.map((x, x) for x in xs):
        print(y.dtype)
    return list(engine.map(xs))


def own(engine: fasttrt.Engine, x: fasttrt.DeviceArray) -> fasttrt.DeviceArray:
    return engine.infer(x)


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor, scale: float = 1.0) -> dict[str, torch.Tensor]:
        return {"y": x}


def exported(x: torch.Tensor) -> torch.Tensor:
    with fasttrt.from_torch(Net(), x, device="cuda", precision="fp16") as net:
        print(net(x, scale=2.0)["y"].dtype)
    return fasttrt.from_torch(Net(), x, dynamic={"x": {0: (1, 8, 32)}})(x)["y"]


def exported_without_types(module: torch.nn.Module, x: torch.Tensor) -> Any:
    net: fasttrt.TorchModule = fasttrt.from_torch(module, x)
    return net(x, 2, three=3)


class OnlyInterface:
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {}


def of_another_library(engine: fasttrt.Engine, x: OnlyInterface) -> list[fasttrt.DeviceArray]:
    y: fasttrt.DeviceArray = engine.infer({"x": x})["y"]
    return [y, engine.infer(x), *engine.map([x])]
