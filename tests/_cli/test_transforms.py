"""``--freeze`` and ``--dims`` of the commands that make engines, through ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import fasttrt
from fasttrt._cli import app
from support.models import make, value
from support.randomness import new_rng

CHANGES = ("--freeze", "axes=[1]", "--dims", "width=5")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """y: the sum of x over ``axes``, which is an input."""
    proto = make(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], "sum", keepdims=1)],
        [value("x", TensorProto.FLOAT, ["n", "width"]), value("axes", TensorProto.INT64, [1])],
        [value("y", TensorProto.FLOAT, ["rows", "columns"])],
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def run(command: str, *arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [command, *map(str, arguments), "--device", "cpu"])


def test_run(path: Path, tmp_path: Path) -> None:
    x = new_rng().standard_normal((3, 5)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    done = run("run", path, *CHANGES, "--inputs", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert done.exit_code == 0, done.output
    y = np.load(tmp_path / "out.npz")["y"]
    np.testing.assert_allclose(y, x.astype(float).sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    random = run("run", path, *CHANGES, "--shapes", "x=4x5", "--json")
    assert random.exit_code == 0, random.output
    (((described,),)) = json.loads(random.stdout)["results"]
    assert described["shape"] == [4, 1]


def test_bench(path: Path) -> None:
    done = run(
        "bench", path, *CHANGES, "--batch", "2,3", "--runs", "5", "--duration", "0.1", "--json"
    )
    assert done.exit_code == 0, done.output
    assert [case["batch"] for case in json.loads(done.stdout)] == [2, 3]
    missing = run("bench", path, "--freeze", "axes=[1]", "--batch", "2")
    assert isinstance(missing.exception, fasttrt.InputError)  # of which width?
    assert "width" in str(missing.exception)


def test_compare(path: Path, tmp_path: Path) -> None:
    done = run("compare", path, *CHANGES, "--shapes", "x=4x5", "--json")
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["inputs"]) == {"x"}
    wrong = run("compare", path, "--freeze", "axes=[1]", "--dims", "depth=5")
    assert wrong.exit_code == 2
    assert "dims: the model has no dimension 'depth'" in wrong.stderr


def test_tune_writes_them_and_a_config_gives_them(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "fasttrt.toml"
    done = run(
        "tune", path, *CHANGES, "--shapes", "x=4x5", "--precision", "none", "--level", "none",
        "--contexts", "1", "--duration", "0.1", "-o", file,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    options = fasttrt.load_config(file)
    assert options["freeze"] == {"axes": [1]}
    assert options["dims"] == {"width": 5}
    x = new_rng().standard_normal((4, 5)).astype(np.float32)
    with fasttrt.Engine(path, **options) as engine:
        y = engine.infer(x)
        compared = fasttrt.compare(path, x, engine=engine, freeze={"axes": [1]}, dims={"width": 5})
    np.testing.assert_allclose(y, x.astype(float).sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    assert compared.passed
    again = run("run", path, "--config", file, "--json")
    (((described,),)) = json.loads(again.stdout)["results"]
    assert described["shape"] == [4, 1]
    other = run("run", path, "--config", file, "--freeze", "axes=[0]", "--json")
    (((described,),)) = json.loads(other.stdout)["results"]
    assert described["shape"] == [1, 5]
