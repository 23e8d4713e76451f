"""The self-test of ``fasttrt doctor``: builds a tiny network and, with a GPU, runs it.

It is a program (``python -m fasttrt._cli.self_test``), so that a crash does not affect its caller,
and prints one line of JSON.
"""

import json
import sys
from typing import Any

import numpy as np


def run(library: str) -> dict[str, str]:
    """Build ``y = x @ w + b`` and, with a GPU, run it.

    Args:
        library: the TensorRT to use, see `fasttrt.library`.

    Returns:
        ``result`` (``"right"``, ``"built"`` without a GPU, or ``"failed"``) and ``detail``.
    """
    import fasttrt
    from fasttrt import _core

    rng = np.random.default_rng()
    w = rng.standard_normal((8, 4)).astype(np.float32)
    b = rng.standard_normal(4).astype(np.float32)
    x = rng.standard_normal((3, 8)).astype(np.float32)
    model: Any = _linear(w, b)
    try:
        if _core.driver_problem():
            plan = fasttrt.build(model, library=library, progress=False)
            return {"result": "built", "detail": f"a plan of {len(plan.data)} bytes"}
        with fasttrt.Engine(model, device="cuda", library=library, cache=False) as engine:
            y = engine.infer(x)
    except fasttrt.Error as error:
        return {"result": "failed", "detail": str(error)}
    right = x.astype(np.float64) @ w + b
    deviation = float(np.abs(y - right).max() / np.abs(right).max())
    result = "right" if deviation < 3e-3 else "failed"  # TF32's is 4e-4
    return {
        "result": result,
        "detail": f"the error is {deviation:.1e} of the largest value",
    }


def _linear(w: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "product"),
        helper.make_node("Add", ["product", "b"], ["y"], "sum"),
    ]
    graph = helper.make_graph(
        nodes,
        "self-test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, len(w)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, len(b)])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
