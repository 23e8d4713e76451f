from typing import Any

from numpy.typing import NDArray

import fasttrt


def compare(x: NDArray[Any]) -> bool:
    result = fasttrt.compare(
        "m.onnx", {"x": x}, precision="fp16", shapes={"x": (1, 3)}, cache=False
    )
    other = fasttrt.compare("m.onnx", device="cuda:1", dims={"batch": 4}, samples=2)
    return result.passed and other.passed


def tuned() -> list[fasttrt.Engine]:
    sizes: tuple[int, ...] = (1, 8)
    plan = fasttrt.build("m.onnx", tuned=sizes)
    return [
        fasttrt.Engine(plan),
        fasttrt.Engine("m.onnx", tuned={"batch": [1, 8], "ids.1": range(32, 65, 32)}),
        fasttrt.Engine("m.onnx", tuned="observed"),
        fasttrt.Engine("m.onnx", tuned=None),
    ]


def quantize(xs: list[NDArray[Any]]) -> fasttrt.QuantizationReport:
    return fasttrt.quantize("m.onnx", xs, method="entropy", output="q.onnx").report
