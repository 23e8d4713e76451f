"""``fasttrt quantize``, as one command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import fasttrt
from support import models
from support.randomness import new_rng

typer = pytest.importorskip("typer", reason="typer is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def run(*arguments: str | Path) -> tuple[int, str, BaseException | None]:
    from typer.testing import CliRunner

    from fasttrt._cli.quantize import quantize

    app = typer.Typer()
    app.command()(quantize)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.exception


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A model and a folder of samples."""
    path = models.mlp((16, 32, 8), 4).save(tmp_path / "net.onnx")
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(10):
        x = new_rng().standard_normal((4, 16)).astype(np.float32)
        np.savez(folder / f"{i}.npz", x=x)
    return path, folder


def test_it_writes_a_model_and_says_what_was_lost(files: tuple[Path, Path]) -> None:
    path, folder = files
    code, text, _ = run(path, folder, "--library", "none")
    assert code == 0
    written = path.with_name("net.int8.onnx")
    assert text.startswith("int8: 2 nodes quantized, 0 excluded; opset 17\n")
    assert text.endswith(f"written: {written}\n")
    operators = [node.op_type for node in onnx.load(written).graph.node]
    assert operators.count("QuantizeLinear") == 4


def test_options_arrive(files: tuple[Path, Path], tmp_path: Path) -> None:
    path, folder = files
    code, text, _ = run(
        path, folder, "-o", tmp_path / "o.onnx", "--method", "percentile", "--percentile", "99.5",
        "--exclude", "gemm1", "--operator", "Gemm", "--validation", folder, "--library", "none",
        "--json",
    )  # fmt: skip
    assert code == 0
    report = json.loads(text)
    assert report["path"] == str(tmp_path / "o.onnx")
    assert report["method"] == "percentile 99.5"
    assert (report["quantized"], report["excluded"]) == (["gemm0"], ["gemm1"])
    assert (report["calibration_samples"], report["validation_samples"]) == (10, 10)
    assert report["held_out"] is True
    assert report["outputs"][0]["max_abs_error"] > 0
    assert (tmp_path / "o.onnx").is_file()


def test_errors_are_fasttrts(files: tuple[Path, Path], tmp_path: Path) -> None:
    path, folder = files
    code, _, error = run(path, tmp_path / "none", "--library", "none")
    assert code == 2  # as wherever a file that is named is not there
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, error = run(path, empty, "--library", "none")
    assert code == 1
    assert isinstance(error, fasttrt.InputError)
    code, _, error = run(path, folder, "--library", "none", "-o", tmp_path / "none" / "o.onnx")
    assert "--output: expected a file in an existing folder" in str(error)
    code, _, error = run(path, folder, "--method", "kl")
    assert isinstance(error, fasttrt.InputError)
    assert not path.with_name("net.int8.onnx").exists()
