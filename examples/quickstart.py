"""A three-layer network from ONNX to the first answer, compared with float64 arithmetic.

python examples/quickstart.py            # the GPU if there is one, else the CPU
python examples/quickstart.py model.onnx # any other model whose inputs are floats
python examples/quickstart.py --device cpu
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import fasttrt

LAYERS = (784, 128, 64, 10)
TOLERANCE = 5e-3  # TF32, TensorRT's default, keeps 10 bits of each factor: about 1e-3
Weights = list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def make_weights(rng: np.random.Generator) -> Weights:
    """He-initialised weights and biases."""
    return [
        (
            (rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)).astype(np.float32),
            (rng.standard_normal(fan_out) * 0.1).astype(np.float32),
        )
        for fan_in, fan_out in itertools.pairwise(LAYERS)
    ]


def to_onnx(weights: Weights) -> onnx.ModelProto:
    """784-128-64-10 with ReLU between the layers and any batch size."""
    nodes, initializers, tensor = [], [], "x"
    for i, (weight, bias) in enumerate(weights):
        last = i == len(weights) - 1
        result = "logits" if last else f"sum{i}"
        initializers += [
            numpy_helper.from_array(weight, f"w{i}"),
            numpy_helper.from_array(bias, f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [tensor, f"w{i}", f"b{i}"], [result]))
        if not last:
            nodes.append(helper.make_node("Relu", [result], [f"hidden{i}"]))
        tensor = f"hidden{i}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", LAYERS[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", LAYERS[-1]])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reference(weights: Weights, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The same network in float64."""
    y = x.astype(np.float64)
    for i, (weight, bias) in enumerate(weights):
        y = y @ weight.astype(np.float64) + bias.astype(np.float64)
        if i < len(weights) - 1:
            y = np.maximum(y, 0)
    return y


def run_mlp(device: str) -> None:
    """Write the model, build it, run it at several batch sizes, compare."""
    rng = np.random.default_rng()
    weights = make_weights(rng)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlp.onnx"
        onnx.save(to_onnx(weights), path)
        shapes = {"x": ((1, 784), (8, 784), (32, 784))}
        with fasttrt.Engine(path, device=device, shapes=shapes) as engine:
            print(engine)
            for batch in (1, 8, 32):
                x = rng.standard_normal((batch, 784)).astype(np.float32)
                expected = reference(weights, x)
                error = np.abs(engine.infer(x) - expected).max() / np.abs(expected).max()
                print(f"batch {batch:2}: largest error {error:.1e} of the largest value")
                if not error < TOLERANCE:
                    raise SystemExit("the answer is wrong")
    print("right")


def run_file(path: str, device: str) -> None:
    """Any model with float32 inputs, on random numbers; dimensions that are not fixed are 1."""
    with fasttrt.Engine(path, device=device) as engine:
        print(engine)
        rng = np.random.default_rng()
        shapes = [
            spec.opt or tuple(max(extent, 1) for extent in spec.shape) for spec in engine.inputs
        ]
        inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        results = engine.infer(*inputs)
        for spec, result in zip(
            engine.outputs, results if isinstance(results, tuple) else (results,), strict=True
        ):
            print(f"{spec.name}: {result.dtype}{list(result.shape)}, mean {result.mean():.4g}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the built-in network, or the model named on the command line."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("model", nargs="?", help="default: a network of three layers")
    options.add_argument("--device", default="auto", help="auto, cuda, cuda:N or cpu")
    chosen = options.parse_args(arguments)
    if chosen.model:
        run_file(chosen.model, chosen.device)
    else:
        run_mlp(chosen.device)


if __name__ == "__main__":
    main()
