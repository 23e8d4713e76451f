"""Constants have all the data that their types and shapes need, in the model and beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import fasttrt
from fasttrt._cli import app
from fasttrt._graph.model import OnnxModel
from support import models
from support.randomness import new_rng

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4cac19622fc3\nsize 4096\n"


def weights(*shape: int) -> models.Array:
    return new_rng().standard_normal(shape).astype(np.float32)


def product(w: models.Array) -> onnx.ModelProto:
    """y = x w."""
    x = models.value("x", TensorProto.FLOAT, [2, len(w)])
    y = models.value("y", TensorProto.FLOAT, [2, w.shape[1]])
    return models.make([helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [y], {"w": w})


def external(
    folder: Path, w: models.Array, content: bytes | None = None, **entries: object
) -> Path:
    """The model in a file, its weights in ``w.data``."""
    proto = product(w)
    tensor = proto.graph.initializer[0]
    (folder / "w.data").write_bytes(tensor.raw_data if content is None else content)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in ({"location": "w.data"} | entries).items():
        tensor.external_data.add(key=key, value=str(text))
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def entrances(path: Path) -> list[Callable[[], Any]]:
    """Wherever a model enters."""
    x = weights(2, 8)
    return [
        lambda: fasttrt.build(path),
        lambda: fasttrt.Engine(path, device="cpu"),
        lambda: fasttrt.compare(path, x, device="cpu"),
        lambda: fasttrt.compare(models.mlp().proto, x, against=path, device="cpu"),
        lambda: fasttrt.quantize(path, [x], library=None),
        lambda: OnnxModel(path, later=True).sha256(),
        lambda: fasttrt.Engine(models.mlp().proto, device="cpu", weights=path),
    ]


W = weights(8, 4)
RAW = W.tobytes()


@pytest.mark.parametrize(
    ("content", "entries", "message"),
    [
        (b"", {}, r"needs 128 bytes from byte 0 of 'w.data' on, which has 0 there \(0 in all\)"),
        (RAW[:127], {}, "needs 128 bytes .* which has 127 there"),
        (RAW, {"offset": 1}, "needs 128 bytes from byte 1 .* which has 127 there"),
        (RAW, {"offset": 1000}, "which has 0 there"),
        (RAW, {"offset": 2**62}, "which has 0 there"),
        (RAW, {"offset": -4}, "offset: expected a number of bytes, got '-4'"),
        (RAW, {"offset": "x"}, "offset: expected a number of bytes, got 'x'"),
        (RAW, {"offset": ""}, "offset: expected a number of bytes, got ''"),
        (RAW, {"offset": "9" * 5000}, "offset: expected a number of bytes"),
        (RAW, {"length": 124}, "expected a length of 128 bytes, .* got 124"),
        (RAW * 2, {"length": 256}, r"which FLOAT\[8, 4\] needs, got 256"),
        (RAW, {"length": "-1"}, "length: expected a number of bytes"),
        (RAW, {"length": "1e2"}, "length: expected a number of bytes"),
        (POINTER, {}, r"w\.data is a Git LFS pointer of \d+ bytes, not the file"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # drawn anew in each process
)
def test_data_that_is_not_there_is_refused(
    content: bytes, entries: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = external(tmp_path, W, content, **entries)
    for enter in entrances(path):
        with pytest.raises(fasttrt.InputError, match=f"external data of 'w': .*{message}"):
            enter()
    for command in ("inspect", "build", "run"):
        done = CliRunner().invoke(app, [command, str(path)])
        assert isinstance(done.exception, fasttrt.InputError)


def test_a_pointer_that_is_long_enough_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, weights(2, 2), POINTER)
    with pytest.raises(fasttrt.InputError, match="Git LFS pointer"):
        OnnxModel(path)


def test_data_may_be_shared_and_lie_anywhere(
    tmp_path: Path, build: Callable[..., fasttrt.Plan]
) -> None:
    path = external(tmp_path, W, b"x" * 64 + RAW + b"y" * 9, offset=64, length=128)
    proto = onnx.load(path, load_external_data=False)
    other = proto.graph.initializer.add()
    other.CopyFrom(proto.graph.initializer[0])
    other.name = "v"
    other.external_data[1].value = "80"
    other.external_data[2].value = "112"
    del other.dims[:]
    other.dims.extend([28])
    path.write_bytes(proto.SerializeToString())
    x = weights(2, 8)
    with fasttrt.Engine(path, device="cpu") as engine:
        np.testing.assert_allclose(engine.infer(x), x.astype(float) @ W, rtol=1e-3, atol=1e-5)
    assert RAW in bytes(build(path).data)


@pytest.mark.parametrize("change", ["cut", "write", "replace", "remove"])
def test_data_that_changes_after_the_check_is_refused(
    change: str, build: Callable[..., fasttrt.Plan], tmp_path: Path
) -> None:
    path = external(tmp_path, W)
    model, data = OnnxModel(path), tmp_path / "w.data"
    if change == "cut":
        with data.open("r+b") as stream:
            stream.truncate(100)
    elif change == "write":
        data.write_bytes(RAW[::-1])
    elif change == "replace":
        data.rename(tmp_path / "old")
        data.write_bytes(RAW)
    else:
        data.unlink()
    for use in (build, lambda model: model.with_weights()):
        with pytest.raises(fasttrt.InputError, match=r"w\.data has changed since"):
            use(model)


def test_data_that_changes_while_it_is_parsed_is_refused(
    build: Callable[..., fasttrt.Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fasttrt._parser import model_source

    path = external(tmp_path, W)
    handed = model_source._feed_model

    def meanwhile(*arguments: Any) -> Any:
        result = handed(*arguments)
        (tmp_path / "w.data").write_bytes(RAW[::-1])
        return result

    monkeypatch.setattr(model_source, "_feed_model", meanwhile)
    with pytest.raises(fasttrt.InputError, match=r"w\.data has changed since"):
        build(path)


def with_tensor(tensor: onnx.TensorProto) -> onnx.ModelProto:
    """A model that has it, though no node reads it."""
    proto = models.mlp().proto
    proto.graph.initializer.append(tensor)
    return proto


def raw(data_type: int, dims: list[int], data: bytes) -> onnx.TensorProto:
    return TensorProto(name="t", data_type=data_type, dims=dims, raw_data=data)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (raw(TensorProto.FLOAT, [3], b"x" * 11), r"FLOAT\[3\]: expected 12 bytes of data, got 11"),
        (raw(TensorProto.FLOAT, [3], b"x" * 13), "expected 12 bytes of data, got 13"),
        (raw(TensorProto.FLOAT, [3], b""), "expected 12 bytes of data, got 0"),
        (raw(TensorProto.FLOAT, [-3], b"x" * 12), "expected dimensions >= 0"),
        (raw(TensorProto.FLOAT, [2**62, 4], b""), "expected fewer elements"),
        (raw(TensorProto.FLOAT, [2**62, 0], b""), "expected fewer elements"),
        (raw(TensorProto.INT4, [3], b"x"), "expected 2 bytes of data, got 1"),
        (raw(TensorProto.UINT4, [3], b"xxx"), "expected 2 bytes of data, got 3"),
        (raw(TensorProto.FLOAT4E2M1, [4], b"x"), "expected 2 bytes of data, got 1"),
        (raw(TensorProto.STRING, [1], b"x"), "expected a type of a fixed size, got strings"),
        (raw(0, [1], b"x"), "expected a type of a fixed size, got type 0"),
        (raw(99, [1], b"x"), "expected a type of a fixed size, got type 99"),
        (TensorProto(name="t", data_type=1, dims=[3], float_data=[1, 2]), "expected 3 values"),
        (TensorProto(name="t", data_type=1, dims=[2]), "expected 2 values of data, got 0"),
        (TensorProto(name="t", data_type=1, dims=[1], int32_data=[1]), "only in float_data"),
        (TensorProto(name="t", data_type=10, dims=[3], int32_data=[1]), "expected 3 values"),
        (TensorProto(name="t", data_type=7, dims=[1], int64_data=[1, 2]), "got 2"),
        (TensorProto(name="t", data_type=8, dims=[2], string_data=[b"a"]), "expected 2 values"),
        (TensorProto(name="t", data_type=14, dims=[2], float_data=[1, 2]), "expected 4 values"),
        (TensorProto(name="t", data_type=22, dims=[3], int32_data=[1]), "expected 2 values"),
        (
            TensorProto(name="t", data_type=1, dims=[1], float_data=[1], raw_data=b"abcd"),
            "expected its data only in raw_data, got some in float_data",
        ),
    ],
)
def test_data_in_the_model_is_counted(tensor: onnx.TensorProto, message: str) -> None:
    proto = with_tensor(tensor)
    for source in (proto, proto.SerializeToString()):
        with pytest.raises(fasttrt.InputError, match=f"tensor 't'.*{message}"):
            fasttrt.Engine(source, device="cpu")
    inner = models.mlp().proto
    node = inner.graph.node.add(op_type="Constant", output=["c"])
    node.attribute.append(helper.make_attribute("value", tensor))
    with pytest.raises(fasttrt.InputError, match=message):
        fasttrt.build(inner)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32", "float16", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool",
        "complex64", "complex128", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4,
        ml_dtypes.uint4, ml_dtypes.float4_e2m1fn,
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5)])
def test_whatever_onnx_writes_is_taken(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    raw = OnnxModel(with_tensor(numpy_helper.from_array(array, "t")))
    data_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = array.astype(complex if np.dtype(dtype).kind == "c" else float).ravel().tolist()
    typed = OnnxModel(with_tensor(helper.make_tensor("t", data_type, shape, values)))
    for model in (raw, typed):
        taken = numpy_helper.to_array(model.proto.graph.initializer[-1])
        assert (taken.dtype, taken.shape) == (array.dtype, shape)
        assert (taken == array).all()


def test_strings_are_counted_too() -> None:
    tensor = helper.make_tensor("t", TensorProto.STRING, [2], np.array([b"a", b"\xff"], object))
    model = OnnxModel(with_tensor(tensor))
    assert list(model.proto.graph.initializer[-1].string_data) == [b"a", b"\xff"]
    del tensor.string_data[1]
    with pytest.raises(fasttrt.InputError, match="tensor 't'"):
        OnnxModel(with_tensor(tensor))


@pytest.mark.parametrize("suffix", [".onnxtxt", ".json", ".textproto"])
def test_text_formats_build_and_run(
    suffix: str, tmp_path: Path, build: Callable[..., fasttrt.Plan]
) -> None:
    w = weights(8, 4)
    path = tmp_path / f"m{suffix}"
    onnx.save(product(w), path)
    x = weights(2, 8)
    with fasttrt.Engine(path, device="cpu") as engine:
        np.testing.assert_allclose(engine.infer(x), x.astype(float) @ w, rtol=1e-3, atol=1e-5)
    assert build(path).data
    proto = onnx.load(external(tmp_path, w), load_external_data=False)
    onnx.save(proto, path)
    with fasttrt.Engine(path, device="cpu") as engine:
        np.testing.assert_allclose(engine.infer(x), x.astype(float) @ w, rtol=1e-3, atol=1e-5)
    assert w.tobytes() in bytes(build(path).data)
    for content in (b"", b"{", b"no model", b"\xff\xfe", path.read_bytes()[:60], b"{" * 10_000):
        path.write_bytes(content)
        with pytest.raises(fasttrt.ParseError, match="not an ONNX model"):
            fasttrt.build(path)


def test_names_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    content = models.mlp().proto.SerializeToString()
    for name in (b"hidden0", b"gemm0", b"batch", b"small", b"w0"):
        damaged = content.replace(name, name[:-1] + b"\xff")
        assert damaged != content
        with pytest.raises(fasttrt.ParseError, match=r"the name .* is not UTF-8"):
            fasttrt.Engine(damaged, device="cpu")


def test_a_damaged_file_is_no_wrong_usage(tmp_path: Path) -> None:
    """The exit code is 1, as of a model that cannot be built."""
    from fasttrt._cli import exit_code

    path = external(tmp_path, W, RAW[:50])
    with pytest.raises(fasttrt.InputError) as caught:
        OnnxModel(path)
    assert exit_code(caught.value) == 1
