"""Graphs of PyTorch's exporter in ONNX's text format, with weights that are drawn when it is read.

``python tests/support/zoo/skeletons.py FOLDER NAME...`` writes those of small networks; it needs
PyTorch, torchvision and transformers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_KEPT = 512
"""Elements of a constant of floats that may be a mask or a table, if it has few values."""
_MARK = "weight_"


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a model without names, metadata and weights: those are inputs that `_MARK` names."""
    graph = model.graph
    for node in graph.node:
        node.name = node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    for holder in (model, graph):
        del holder.metadata_props[:]
    del graph.value_info[:]
    names: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
        values = numpy_helper.to_array(tensor)
        is_weight = tensor.data_type == TensorProto.FLOAT and values.size > 1
        if not is_weight or (values.size <= _KEPT and len(np.unique(values)) <= 2):
            kept.append(numpy_helper.from_array(values, tensor.name))
            continue
        names[tensor.name] = f"{_MARK}{len(names)}"
        graph.input.append(
            helper.make_tensor_value_info(names[tensor.name], tensor.data_type, tensor.dims)
        )
    del graph.initializer[:]
    graph.initializer.extend(kept)
    short = _short_names(model, names)
    for node in graph.node:
        node.input[:] = [short.get(name, name) for name in node.input]
        node.output[:] = [short.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]
    return model


def _short_names(model: onnx.ModelProto, names: dict[str, str]) -> dict[str, str]:
    """Names of a few letters for all but inputs and outputs."""
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    short = dict(names)
    for tensor in model.graph.initializer:
        short[tensor.name] = f"c{len(short)}"
    for node in model.graph.node:
        for name in node.output:
            if name and name not in fixed:
                short.setdefault(name, f"t{len(short)}")
    return short


def load(path: Path, seed: int = 0) -> onnx.ModelProto:
    """Read a skeleton, with weights drawn so that values neither grow nor shrink much."""
    model = onnx.parser.parse_model(path.read_text())
    rng = np.random.default_rng(seed)
    weights = [value for value in model.graph.input if value.name.startswith(_MARK)]
    for value in weights:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(shape) > 1:
            terms = max(1, int(np.prod(shape)) // max(shape[0], 1))
            values = rng.standard_normal(shape) / np.sqrt(terms)
        else:
            values = rng.uniform(0.5, 1.5, shape)  # a norm's, its variance included
        model.graph.initializer.append(
            numpy_helper.from_array(values.astype(np.float32), value.name)
        )
        model.graph.input.remove(value)
    return model


def _write(folder: Path, name: str) -> None:
    from support.zoo import NETWORKS
    from support.zoo.exporting import export, make_module

    network = NETWORKS[name]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "m.onnx"
        export(make_module(network, small=True), network, path, small=True)
        text = onnx.printer.to_text(skeleton(onnx.load(path)))
    (folder / f"{name}.onnxtxt").write_text(text + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    for name in sys.argv[2:]:
        _write(Path(sys.argv[1]), name)
