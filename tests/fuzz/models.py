"""Models: bytes, constants, external data and text formats that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf import json_format, text_format
from onnx import TensorProto

import fasttrt
from fasttrt._graph.model import OnnxModel
from fuzz.damage import Rng, damaged, number, text
from support import models

_MAKERS = (models.mlp, models.convolution, models.conditional, models.elementwise, models.several)
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def attempt(rng: Rng, folder: Path) -> str:
    """Damage one, and let it enter in one of several ways."""
    proto = _MAKERS[rng.integers(len(_MAKERS))]().proto
    path = folder / "m.onnx"
    way = rng.integers(4)
    if way == 0:
        path.write_bytes(damaged(rng, proto.SerializeToString()))
        return _enter(rng, path, parse=False)
    if way == 1:
        return _text(rng, proto, folder)
    if way == 2:
        for tensor in proto.graph.initializer:
            if rng.random() < 0.7:
                _change_constant(rng, tensor)
        path.write_bytes(proto.SerializeToString())
        return _enter(rng, path, parse=True)
    onnx.save(
        proto, path, save_as_external_data=True, location="w.data", size_threshold=0,
        all_tensors_to_one_file=True,
    )  # fmt: skip
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        if rng.random() < 0.5:
            _change_place(rng, tensor)
    path.write_bytes(proto.SerializeToString())
    (folder / "w.data").touch()  # a model without weights has none
    _change_file(rng, folder / "w.data")
    found = _enter(rng, path, parse=True)
    _assert_there(proto, folder)
    return found


def _enter(rng: Rng, path: Path, parse: bool) -> str:
    model = OnnxModel(path)
    model.sha256()
    with fasttrt.Engine(path, device="cpu") as engine:
        names = [spec.name for spec in engine.inputs]
    if parse and rng.random() < 0.3:
        fasttrt.build(path, progress=False)
        return "built"
    return f"{len(names)} inputs"


def _text(rng: Rng, proto: onnx.ModelProto, folder: Path) -> str:
    suffix = (".json", ".textproto", ".onnxtxt")[rng.integers(3)]
    if suffix == ".json":
        content = json_format.MessageToJson(proto)
    elif suffix == ".textproto":
        content = text_format.MessageToString(proto)
    else:
        content = onnx.printer.to_text(proto)
    path = folder / f"m{suffix}"
    path.write_bytes(damaged(rng, content.encode()))
    return _enter(rng, path, parse=False)


def _change_constant(rng: Rng, tensor: TensorProto) -> None:
    way = rng.integers(6)
    if way == 0:
        tensor.raw_data = damaged(rng, tensor.raw_data)
    elif way == 1:
        tensor.raw_data = tensor.raw_data[: rng.integers(len(tensor.raw_data) + 1)]
    elif way == 2 and tensor.dims:
        tensor.dims[rng.integers(len(tensor.dims))] = max(-(2**63), min(number(rng), 2**63 - 1))
    elif way == 3:
        tensor.data_type = int(rng.integers(0, 30))
    elif way == 4:
        tensor.ClearField("raw_data")
        tensor.float_data.extend(rng.standard_normal(rng.integers(9)).tolist())
    else:
        tensor.dims.append(int(rng.integers(0, 4)))


def _change_place(rng: Rng, tensor: TensorProto) -> None:
    entries = {entry.key: entry for entry in tensor.external_data}
    way = rng.integers(6)
    if way == 0:
        entries["offset"].value = str(number(rng))
    elif way == 1:
        entries["length"].value = str(number(rng))
    elif way == 2:
        entries[("offset", "length", "location")[rng.integers(3)]].value = text(rng)
    elif way == 3:
        tensor.external_data.add(key="offset", value=str(number(rng)))
    elif way == 4 and tensor.dims:
        tensor.dims[0] = int(rng.integers(0, 99))
        if rng.random() < 0.5:
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value="w.data")
    else:
        tensor.data_type = int(rng.integers(0, 30))


def _change_file(rng: Rng, file: Path) -> None:
    way = rng.integers(8)
    content = file.read_bytes()
    if way == 0:
        file.write_bytes(content[: rng.integers(len(content) + 1)])
    elif way == 1:
        file.write_bytes(_POINTER)
    elif way == 2:
        file.unlink()
        file.symlink_to(("w.data", "/dev/zero", "/etc/passwd", "none")[rng.integers(4)])
    elif way == 3:
        file.unlink()
        file.mkdir()


def _assert_there(proto: onnx.ModelProto, folder: Path) -> None:
    """What was taken has its data, by numbers of our own."""
    for tensor in proto.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        size = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
        needed = size * int(np.prod(tensor.dims, dtype=object))
        file = folder / entries["location"]
        there = file.stat().st_size - int(entries.get("offset", 0))
        is_small = tensor.data_type in (TensorProto.INT4, TensorProto.UINT4, 23, 25, 26)
        assert there >= (needed // 4 if is_small else needed), f"{tensor.name}: {there} of {needed}"
