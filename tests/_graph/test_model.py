"""Reading ONNX models from wherever they come."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from support import models


def test_a_path_bytes_and_a_proto_are_the_same_model(tmp_path: Path) -> None:
    made = models.mlp()
    path = made.save(tmp_path / "m.onnx")
    read = [
        OnnxModel(path),
        OnnxModel(str(path)),
        OnnxModel(path.read_bytes()),
        OnnxModel(made.proto),
    ]
    for model in read:
        assert [(t.name, t.dtype, t.shape) for t in model.inputs] == [
            ("x", np.dtype("float32"), ("batch", 16))
        ]
        assert [(t.name, t.dtype, t.shape) for t in model.outputs] == [
            ("y", np.dtype("float32"), ("batch", 8))
        ]
        assert model.to_bytes() == path.read_bytes()
        assert model.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [model.path for model in read] == [path, path, None, None]


@pytest.mark.parametrize(
    ("onnx_type", "name"),
    [
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.BFLOAT16, "bfloat16"),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn"),
        (TensorProto.INT4, "int4"),
        (TensorProto.BOOL, "bool"),
        (TensorProto.UINT8, "uint8"),
    ],
)
def test_declared_types(onnx_type: int, name: str) -> None:
    x, y = (models.value(tensor, onnx_type, [2, 3]) for tensor in "xy")
    proto = models.make(
        [helper.make_node("Identity", ["x"], ["y"])], [x], [y], opset=models.QUANTIZED_OPSET
    )
    (declared,) = OnnxModel(proto).inputs
    assert declared.dtype.name == name


def test_declared_extents_keep_their_names() -> None:
    model = OnnxModel(models.elementwise(("n", 3, None, "?")).proto)
    assert model.inputs[0].shape == ("n", 3, "", "?")


def test_an_output_may_have_no_declared_shape() -> None:
    proto = models.elementwise(("n",)).proto
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert OnnxModel(proto).outputs[0].shape is None


def test_scalars_are_declared_with_no_extents() -> None:
    assert OnnxModel(models.elementwise(()).proto).inputs[0].shape == ()


def test_weights_that_are_listed_as_inputs_are_not_asked_for() -> None:
    proto = models.with_initializers_as_inputs(models.mlp().proto)
    assert len(proto.graph.input) == 5
    assert [t.name for t in OnnxModel(proto).inputs] == ["x"]


def test_sparse_weights_that_are_listed_as_inputs_are_not_asked_for() -> None:
    proto = models.elementwise((4,)).proto
    (dense,) = proto.graph.initializer
    proto.graph.input.append(models.value(dense.name, TensorProto.FLOAT, [4]))
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), dense.name),
        numpy_helper.from_array(np.zeros(1, np.int64), "at"),
        [4],
    )
    del proto.graph.initializer[:]
    proto.graph.sparse_initializer.append(sparse)
    assert [t.name for t in OnnxModel(proto).inputs] == ["x"]


def test_external_data_is_left_where_it_is(tmp_path: Path) -> None:
    made = models.mlp()
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    data = tmp_path / "m.onnx.data"
    weights = sum(len(tensor.raw_data) for tensor in made.proto.graph.initializer)
    model = OnnxModel(path)
    assert data.stat().st_size >= weights > len(model.to_bytes()) - 1500
    assert model.to_bytes() == path.read_bytes()


def test_the_hash_follows_the_weights() -> None:
    made = models.mlp()
    before = OnnxModel(made.proto).sha256()
    assert OnnxModel(made.to_bytes()).sha256() == before
    changed = onnx.ModelProto()
    changed.CopyFrom(made.proto)
    weight = numpy_helper.to_array(changed.graph.initializer[0]).copy()
    weight[0, 0] += 1
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w0"))
    assert OnnxModel(changed).sha256() != before


def test_the_hash_follows_the_external_data(tmp_path: Path) -> None:
    path = models.with_external_data(models.mlp().proto, tmp_path / "m.onnx")
    data = tmp_path / "m.onnx.data"
    before = OnnxModel(path).sha256()
    assert OnnxModel(path).sha256() == before
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    assert OnnxModel(path).sha256() != before
    data.unlink()
    with pytest.raises(
        fasttrt.InputError, match=r"external data of 'w0': expected the file .*onnx\.data"
    ):
        OnnxModel(path)


def test_the_hash_follows_sparse_external_data(tmp_path: Path) -> None:
    proto = models.elementwise((4,)).proto
    (dense,) = proto.graph.initializer
    values = numpy_helper.from_array(np.ones(1, np.float32), dense.name)
    values.ClearField("raw_data")
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="values.bin")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "at")
    sparse = onnx.SparseTensorProto(values=values, indices=indices, dims=[4])
    del proto.graph.initializer[:]
    proto.graph.sparse_initializer.append(sparse)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    hashes = set()
    for number in (1, 2):
        (tmp_path / "values.bin").write_bytes(np.float32(number).tobytes())
        hashes.add(OnnxModel(path).sha256())
    assert len(hashes) == 2


def test_named_axes_change_a_copy(tmp_path: Path) -> None:
    path = models.same_name("?").save(tmp_path / "m.onnx")
    model = OnnxModel(path)
    changed = model.with_named_axes([("x", 2), ("x", 3)])
    assert changed.inputs[0].shape == ("batch", 3, "x.2", "x.3")
    assert model.inputs[0].shape == ("batch", 3, "?", "?")
    assert (model.is_changed, changed.is_changed) == (False, True)
    assert changed.path == path
    assert changed.sha256() != model.sha256()


def test_saving_writes_the_same_model(tmp_path: Path) -> None:
    made = models.mlp()
    OnnxModel(made.proto).save(tmp_path / "copy.onnx")
    copy = onnx.load(tmp_path / "copy.onnx")
    for ours, theirs in zip(copy.graph.initializer, made.proto.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(ours), numpy_helper.to_array(theirs))
    assert copy.graph.node == made.proto.graph.node


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"this is not an ONNX model", b"\xff" * 100, models.mlp().to_bytes()[:-7]],
    ids=["empty", "zero", "text", "ones", "cut"],
)
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    for source in (content, tmp_path / "m.onnx"):
        with pytest.raises(fasttrt.ParseError, match="not an ONNX model") as caught:
            OnnxModel(source)
        (issue,) = caught.value.issues
        assert issue.node == -1
        assert (str(tmp_path / "m.onnx") in issue.reason) == isinstance(source, Path)


def test_an_empty_model_is_refused() -> None:
    with pytest.raises(fasttrt.ParseError, match="the model has an empty graph"):
        OnnxModel(onnx.ModelProto())


@pytest.mark.parametrize(
    ("field", "message"),
    [("input", "has 2 inputs named x"), ("initializer", "has 2 initializers named w0")],
)
def test_two_tensors_of_one_name_are_refused(field: str, message: str, tmp_path: Path) -> None:
    made = models.mlp()
    values = getattr(made.proto.graph, field)
    values.append(values[0])
    path = made.save(tmp_path / "m.onnx")
    for call in (
        lambda: fasttrt.Engine(made.proto, device="cpu"),
        lambda: fasttrt.build(path),
        lambda: fasttrt.compare(path.read_bytes(), device="cpu"),
    ):
        with pytest.raises(fasttrt.ParseError, match=f"not an ONNX model\n.* {message}$"):
            call()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(fasttrt.MissingFileError, match=r"m\.onnx"):
        OnnxModel(tmp_path / "m.onnx")


@pytest.mark.parametrize("error", [EncodeError, ValueError])  # protobuf's, by its release
def test_a_proto_of_more_than_2_gib_is_told_from_others(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Huge:
        """As a model is of which protobuf gives the size, but no bytes."""

        def ByteSize(self) -> int:  # noqa: N802
            return 2**31

        def SerializeToString(self) -> bytes:  # noqa: N802
            raise error("exceeds maximum protobuf size of 2GB")

    model = OnnxModel(models.mlp().proto)
    assert model.fits_in_memory
    monkeypatch.setitem(vars(model), "proto", Huge())
    assert not model.fits_in_memory
    with pytest.raises(fasttrt.InputError, match=r"at most 2 GiB.*save_as_external_data=True"):
        model.to_bytes()


def test_a_file_read_later_is_the_same_model(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    later, now = OnnxModel(path, later=True), OnnxModel(path)
    assert later.sha256() == now.sha256()
    assert "proto" not in vars(later)
    assert later.to_bytes() == now.to_bytes()
    assert later.inputs == now.inputs
    assert later.sha256() == now.sha256()


def test_a_file_that_changes_before_it_is_read_later_is_not_as_read(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    later = OnnxModel(path, later=True)
    assert later.is_as_read
    models.deep(2).save(path)
    assert later.proto
    assert not later.is_as_read


def test_what_is_wrong_with_a_file_read_later_is_told_when_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(fasttrt.MissingFileError):
        OnnxModel(tmp_path / "none.onnx", later=True)
    for content in (b"no model", b""):
        path = tmp_path / "m.onnx"
        path.write_bytes(content)
        later = OnnxModel(path, later=True)
        for _ in range(2):
            with pytest.raises(fasttrt.ParseError, match=str(path)):
                _ = later.proto
