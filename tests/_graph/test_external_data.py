"""External data lies within the model's folder, or nothing reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt._graph.external_data import has_no_external_data
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.model_source import feed_model
from support import models
from support.randomness import new_rng

SECRET = new_rng().standard_normal(4).astype(np.float32)


def with_location(location: str, weight: onnx.TensorProto | None = None) -> onnx.ModelProto:
    """y = x + w, with w in a file."""
    x, y = (models.value(name, TensorProto.FLOAT, [4]) for name in "xy")
    proto = models.make([helper.make_node("Add", ["x", "w"], ["y"])], [x], [y], {"w": SECRET})
    tensor = proto.graph.initializer[0] if weight is None else weight
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return proto


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, with the secret in a file outside it."""
    (tmp_path / "secret").write_bytes(SECRET.tobytes())
    inner = tmp_path / "inner"
    inner.mkdir()
    return inner


def save(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def assert_refused(path: Path, location: str) -> None:
    """Both backends refuse it, and the message has all that is needed to find it."""
    for use in (
        lambda: OnnxModel(path),
        lambda: OnnxModel(path, later=True),
        lambda: fasttrt.build(path),
        lambda: fasttrt.Engine(path, device="cpu"),
    ):
        with pytest.raises(fasttrt.InputError) as caught:
            use()
        assert "external data of 'w'" in str(caught.value)
        assert f"within the model's folder {path.parent}" in str(caught.value)
        assert repr(location) in str(caught.value)


@pytest.mark.parametrize("location", ["../secret", "sub/../../secret", "..", "./../secret"])
def test_what_leads_upwards_is_refused(folder: Path, location: str) -> None:
    (folder / "sub").mkdir()
    assert_refused(save(with_location(location), folder / "m.onnx"), location)


def test_an_absolute_path_is_refused_even_into_the_folder(folder: Path) -> None:
    (folder / "w").write_bytes(SECRET.tobytes())
    for location in (str(folder.parent / "secret"), "/etc/passwd", str(folder / "w")):
        assert_refused(save(with_location(location), folder / "m.onnx"), location)


def test_links_out_of_the_folder_are_refused(folder: Path) -> None:
    (folder / "file").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    for location in ("file", "up/secret"):
        path = save(with_location(location), folder / "m.onnx")
        assert_refused(path, location)
        with pytest.raises(fasttrt.InputError, match=str(folder.parent / "secret")):
            OnnxModel(path)


@pytest.mark.parametrize("location", ["", "a\0b", "*/_ORT_MEM_ADDR_/*"])
def test_what_names_no_file_is_refused(folder: Path, location: str) -> None:
    assert_refused(save(with_location(location), folder / "m.onnx"), location)


@pytest.mark.parametrize("place", [0, 1])
def test_all_names_of_a_tensor_are_looked_at(folder: Path, place: int) -> None:
    (folder / "w").write_bytes(SECRET.tobytes())
    locations = ["w", "w"]
    locations[place] = "../secret"
    proto = with_location(locations[0])
    proto.graph.initializer[0].external_data.add(key="location", value=locations[1])
    assert_refused(save(proto, folder / "m.onnx"), "../secret")


def test_what_is_no_regular_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")  # reading it would wait for ever
    (folder / "sub").mkdir()
    for location in ("pipe", "sub"):
        assert_refused(save(with_location(location), folder / "m.onnx"), location)


def test_tensors_anywhere_in_the_model_are_seen(folder: Path) -> None:
    def subgraph() -> onnx.ModelProto:
        proto = models.conditional().proto
        node = next(node for node in proto.graph.node if node.op_type == "If")
        weight = node.attribute[0].g.initializer.add()
        weight.CopyFrom(numpy_helper.from_array(SECRET, "w"))
        with_location("../secret", weight)
        return proto

    def constant() -> onnx.ModelProto:
        proto = models.mlp().proto
        node = proto.graph.node.add(op_type="Constant", output=["w"])
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(SECRET, "w")))
        with_location("../secret", node.attribute[0].t)
        return proto

    def function() -> onnx.ModelProto:
        proto = models.mlp().proto
        node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(SECRET, "w"))
        with_location("../secret", node.attribute[0].t)
        opsets = list(proto.opset_import)
        proto.functions.append(helper.make_function("own", "f", [], ["y"], [node], opsets))
        return proto

    def sparse() -> onnx.ModelProto:
        proto = models.mlp().proto
        weight = numpy_helper.from_array(SECRET, "w")
        with_location("../secret", weight)
        indices = numpy_helper.from_array(np.arange(4), "indices")
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(weight, indices, [9]))
        return proto

    for make in (subgraph, constant, function, sparse):
        path = save(make(), folder / f"{make.__name__}.onnx")
        with pytest.raises(fasttrt.InputError, match="external data of 'w'"):
            OnnxModel(path)


def test_a_model_without_a_folder_has_no_external_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "w").write_bytes(SECRET.tobytes())
    monkeypatch.chdir(folder)  # where TensorRT and ONNX Runtime would look
    proto = with_location("w")
    for source in (proto, proto.SerializeToString()):
        with pytest.raises(fasttrt.InputError, match=r"'w'.*has no folder"):
            OnnxModel(source)


def assert_reads(path: Path) -> None:
    x = models.random_array(np.float32, [4])
    with fasttrt.Engine(path, device="cpu") as engine:
        np.testing.assert_array_equal(engine.infer(x), x + SECRET)


def test_files_below_the_folder_are_read(
    folder: Path, build: Callable[..., fasttrt.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "w").write_bytes(SECRET.tobytes())
    for location in ("a/b/w", "./a/b/w"):
        path = save(with_location(location), folder / "m.onnx")
        assert_reads(path)
        assert build(path).data
    monkeypatch.chdir(folder)
    assert_reads(Path("m.onnx"))


@pytest.mark.parametrize("before", [0, 5])
def test_external_data_without_a_length_is_read(
    folder: Path, build: Callable[..., fasttrt.Plan], before: int
) -> None:
    """The length is optional, and the file may have other data, too."""
    values = new_rng().standard_normal(before + 9).astype(np.float32)
    values[before : before + 4] = SECRET
    (folder / "w").write_bytes(values.tobytes())
    proto = with_location("w")
    if before:
        proto.graph.initializer[0].external_data.add(key="offset", value=str(4 * before))
    path = save(proto, folder / "m.onnx")
    assert_reads(path)
    assert build(path).data
    found: list[str | bytes] = []
    feed_model(OnnxModel(path), found.append, lambda content, _: found.append(content))
    assert isinstance(found[0], bytes)
    fed = onnx.load_model_from_string(found[0]).graph.initializer[0]
    assert {entry.key: entry.value for entry in fed.external_data}["length"] == "16"
    assert "length" not in str(onnx.load(path, load_external_data=False))  # the file is as it was
    with_length = with_location("w")
    with_length.graph.initializer[0].external_data.add(key="length", value="16")
    found.clear()
    feed_model(OnnxModel(save(with_length, path)), found.append, lambda *_: found.append(b""))
    assert found == [str(path)]


def test_a_cache_of_linked_files_is_read(
    tmp_path: Path, build: Callable[..., fasttrt.Plan]
) -> None:
    """Names that link to files called after their hash, as the cache of Hugging Face has them."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save(with_location("m.onnx.data"), blobs / "0123")
    (blobs / "4567").write_bytes(SECRET.tobytes())
    (snapshot / "m.onnx").symlink_to("../../blobs/0123")
    (snapshot / "m.onnx.data").symlink_to("../../blobs/4567")
    assert_reads(snapshot / "m.onnx")
    assert build(snapshot / "m.onnx").data
    (tmp_path / "secret").write_bytes(SECRET.tobytes())
    (snapshot / "m.onnx.data").unlink()
    (snapshot / "m.onnx.data").symlink_to("../../secret")
    with pytest.raises(fasttrt.InputError, match="secret"):
        OnnxModel(snapshot / "m.onnx")


@pytest.mark.parametrize("shift", range(-9, 3))
def test_external_data_is_seen_wherever_it_is_named(tmp_path: Path, shift: int) -> None:
    """Also across the blocks in which the file is read."""
    proto = with_location("w")
    word = b"location"
    proto.producer_name = "p" * 500_000  # whose length takes as many bytes as that of what it gets
    place = proto.SerializeToString().index(word)
    proto.producer_name += "p" * ((1 << 20) + shift - place)
    content = proto.SerializeToString()
    assert content.index(word) == (1 << 20) + shift
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert not has_no_external_data(path)
    path.write_bytes(content.replace(word, b"locution"))
    assert has_no_external_data(path)


def test_only_binary_files_are_searched(tmp_path: Path) -> None:
    """A text can spell the word otherwise."""
    for name in ("m.json", "m.textproto", "m.onnxtxt", "m"):
        (tmp_path / name).write_bytes(b"")
        assert not has_no_external_data(tmp_path / name)


def test_the_hash_of_a_model_read_later_has_its_external_data(folder: Path) -> None:
    (folder / "w").write_bytes(SECRET.tobytes())
    path = save(with_location("w"), folder / "m.onnx")
    before = OnnxModel(path, later=True).sha256()
    assert before == OnnxModel(path).sha256()
    (folder / "w").write_bytes((SECRET + 1).tobytes())
    assert OnnxModel(path, later=True).sha256() != before
