"""``fasttrt inspect`` of models and plans."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt._cli import app
from support import models


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_a_model(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    found = json.loads(run(path, "--json", "--library", "rtx").stdout)
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 16]}]
    assert found["operators"]["Gemm"] == 2
    assert found["opsets"] == {"ai.onnx": 17}
    weights = models.mlp().proto.graph.initializer
    assert found["parameters"] == sum(1 if not w.dims else _product(w.dims) for w in weights)
    assert found["parser"]["parses"] is True
    assert found["parser"]["layers"] > 0
    text = run(path, "--no-parse").output
    assert "operators:\n  Gemm: 2\n" in text
    assert "parser" not in text


def _product(values: Any) -> int:
    result = 1
    for value in values:
        result *= value
    return result


def test_what_tensorrt_cannot_parse(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    path = models.nonzero().save(tmp_path / "m.onnx")
    parser = json.loads(run(path, "--json", "--library", "rtx").stdout)["parser"]
    assert parser["parses"] is False
    assert parser["refused"][0]["operator"] == "NonZero"


def test_a_plan(build: Any, tmp_path: Path) -> None:
    plan = build(models.conditional().proto, progress=False)
    plan.save(tmp_path / "m.plan")
    found = json.loads(run(tmp_path / "m.plan", "--json").stdout)
    assert found["kind"] == "plan"
    assert found["bytes"] == len(plan.data)
    assert found["control_flow"] == ["If"]
    assert plan.metadata.items() <= found.items()
    assert "control flow: [If]" in run(tmp_path / "m.plan").output


def test_layers_want_a_gpu(build: Any, tmp_path: Path, no_gpu: str) -> None:
    build(models.mlp(batch=2).proto, progress=False).save(tmp_path / "m.plan")
    done = run(tmp_path / "m.plan", "--layers")
    assert isinstance(done.exception, fasttrt.Error)
    assert no_gpu in str(done.exception)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    done = run(path, "--layers")
    assert isinstance(done.exception, fasttrt.InputError)
    assert "--layers: expected a plan" in str(done.exception)
    done = run(path, "--library", tmp_path / "none")
    assert isinstance(done.exception, fasttrt.InputError)
    assert "--library: expected" in str(done.exception)
    done = run(path, "--library", tmp_path)  # is there, with no library in it
    assert isinstance(done.exception, fasttrt.LibraryNotFoundError)


def test_a_changed_model_is_parsed(tmp_path: Path, rtx: fasttrt.LibraryInfo) -> None:
    path = models.conditional().save(tmp_path / "if.onnx")
    found = json.loads(run(path, "--freeze", "c=true", "--library", rtx.path, "--json").stdout)
    assert "c" not in [tensor["name"] for tensor in found["inputs"]]
    assert found["parser"]["parses"] is True
    path = models.mlp().save(tmp_path / "m.onnx")
    changes = ("--dims", "batch=5", "--precision", "fp16", "--library", rtx.path)
    found = json.loads(run(path, *changes, "--json").stdout)
    assert found["inputs"][0]["shape"] == [5, 16]
    assert found["parser"]["parses"] is True


def test_a_model_is_told_of_without_a_library_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    monkeypatch.setenv("FASTTRT_LIBRARY", str(tmp_path / "none"))
    done = run(path, "--json")
    assert done.exit_code == 0
    parser = json.loads(done.stdout)["parser"]
    assert parser["library"] is None
    assert parser["problem"].startswith("no TensorRT library was found.")
    assert not parser["problem"].endswith("Tried:")


@pytest.mark.parametrize("content", [b"", b"not a model at all"])
def test_what_is_neither(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    assert isinstance(run(tmp_path / "m").exception, fasttrt.ParseError)
