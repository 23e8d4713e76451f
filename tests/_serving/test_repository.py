"""Triton's layout on disk: what is a model, and that nothing leads out of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import fasttrt
from fasttrt._serving.errors import UnknownModelError
from fasttrt._serving.model_config import ModelConfig
from fasttrt._serving.model_source import SingleFile, open_source, uploaded
from fasttrt._serving.repository import ModelFolder, Repository


def folder(tmp_path: Path, *files: str) -> ModelFolder:
    for file in files:
        path = tmp_path / "models" / "net" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    return Repository(tmp_path / "models").folder("net")


def test_models_are_folders_that_are_not_hidden(tmp_path: Path) -> None:
    for name in ("b", "a b", ".git", "c\n"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").write_text("no model")
    assert Repository(tmp_path).names() == ("a b", "b")


def test_versions_are_numbers_without_leading_zeros(tmp_path: Path) -> None:
    found = folder(tmp_path, "10/m", "9/m", "0/m", "01/m", "v2/m", "3", "\u0664/m", "-1/m")
    assert found.versions() == ("9", "10")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../models", "net/..", "/etc", "net/1", "a\0b", "x" * 256, "\ud800"]
)
def test_names_never_lead_out(tmp_path: Path, name: str) -> None:
    folder(tmp_path, "1/model.onnx")
    with pytest.raises(UnknownModelError, match=r"Request for unknown model: .* is not found"):
        Repository(tmp_path / "models").folder(name)


def test_links_that_leave_are_refused(tmp_path: Path) -> None:
    found = folder(tmp_path, "1/model.onnx", "2/other")
    (tmp_path / "secret").write_text("secret")
    (found.path / "labels").symlink_to(tmp_path / "secret")
    (found.path / "2" / "model.onnx").symlink_to(tmp_path / "secret")
    (found.path / "config.pbtxt").symlink_to("/etc/passwd")
    (tmp_path / "models" / "out").symlink_to(tmp_path)
    with pytest.raises(fasttrt.InputError, match=r"net/labels: expected a file in the model repo"):
        found.labels("labels")
    with pytest.raises(fasttrt.InputError, match=r"net/2/model.onnx: expected a file in the model"):
        found.model_file("2", ModelConfig())
    with pytest.raises(fasttrt.InputError, match=r"net/config.pbtxt: expected a file in the model"):
        _ = found.config
    with pytest.raises(UnknownModelError):
        Repository(tmp_path / "models").folder("out")


def test_links_within_are_followed(tmp_path: Path) -> None:
    found = folder(tmp_path, "1/model.onnx")
    (found.path / "2").symlink_to("1")
    assert found.versions() == ("1", "2")
    assert found.model_file("2", ModelConfig()) == found.path.resolve() / "1" / "model.onnx"


def test_the_file_is_the_platforms_or_the_only_one(tmp_path: Path) -> None:
    found = folder(tmp_path, "1/model.onnx", "1/model.plan", "2/model.plan", "3/own.onnx")
    path = found.path.resolve()
    with pytest.raises(fasttrt.InputError, match=r"got model.onnx and model.plan"):
        found.model_file("1", ModelConfig())
    plan = ModelConfig(platform="tensorrt_plan")
    assert found.model_file("1", plan) == path / "1" / "model.plan"
    assert found.model_file("2", ModelConfig()) == path / "2" / "model.plan"
    with pytest.raises(fasttrt.InputError, match=r"net/3: expected model.plan, got none"):
        found.model_file("3", plan)
    named = ModelConfig(default_model_filename="own.onnx")
    assert found.model_file("3", named) == path / "3" / "own.onnx"
    with pytest.raises(fasttrt.InputError, match=r"net/2/own.onnx: .* which does not exist"):
        found.model_file("2", named)


def test_labels_are_lines(tmp_path: Path) -> None:
    found = folder(tmp_path, "1/model.onnx")
    (found.path / "labels.txt").write_text("a cat\r\n\nein Hünd \n")
    assert found.labels("labels.txt") == ("a cat", "", "ein Hünd")
    (found.path / "labels.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(fasttrt.InputError, match=r"net/labels.txt: expected text"):
        found.labels("labels.txt")


def test_a_single_file_is_version_1(tmp_path: Path) -> None:
    path = tmp_path / "net.v2.onnx"
    path.write_text("a model")
    source = open_source(path)
    assert source.names() == ("net.v2",)
    model = source.folder("net.v2")
    assert (model.versions(), model.config) == (("1",), None)
    assert model.model_file("1", ModelConfig()) == path
    with pytest.raises(UnknownModelError):
        source.folder("other")
    with pytest.raises(fasttrt.InputError, match=r"expected a model repository, got a single file"):
        model.labels("../labels")
    with pytest.raises(fasttrt.MissingFileError):
        SingleFile(tmp_path / "none.onnx")
    with pytest.raises(fasttrt.MissingFileError):
        open_source(tmp_path / "none")


def test_uploads_have_a_folder_of_their_own() -> None:
    kept, found = uploaded("net", {"1/model.onnx": b"a", "labels/x.txt": b"b"})
    with kept:
        assert found.model_file("1", ModelConfig()).read_bytes() == b"a"
        assert found.labels("labels/x.txt") == ("b",)
    assert not found.root.exists()


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "1/../../x", "", ".", "1/.x", "a\0", "1/" + "d/" * 9 + "x"]
)
def test_uploads_never_leave_it(path: str) -> None:
    with pytest.raises(fasttrt.InputError, match=r"expected a path in the model's folder"):
        uploaded("net", {"1/model.onnx": b"a", path: b"b"})


def test_uploads_need_a_version() -> None:
    with pytest.raises(fasttrt.InputError, match=r"expected some as 1/model.onnx, got model.onnx"):
        uploaded("net", {"model.onnx": b"a"})
    with pytest.raises(fasttrt.InputError, match=r"expected a printable name"):
        uploaded("../net", {"1/model.onnx": b"a"})
