"""``fasttrt compare``: what it prints and how it exits."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fasttrt._cli.compare import compare
from support import models
from support.perturbed import with_weight

app = typer.Typer()
app.command()(compare)


@pytest.fixture
def path(mlp_model: models.Model, tmp_path: Path) -> Path:
    return mlp_model.save(tmp_path / "m.onnx")


@pytest.fixture
def other(mlp_model: models.Model, tmp_path: Path) -> Path:
    """A model with another weight."""
    wrong = with_weight(mlp_model.proto, "w1", lambda w: w * 1.5)
    return models.Model(wrong, mlp_model.reference).save(tmp_path / "other.onnx")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])


def test_a_right_engine_exits_with_0(path: Path) -> None:
    done = run(path, "--seed", "5")
    assert done.exit_code == 0, done.output
    assert "passed" in done.stdout
    assert "seed 5" in done.stdout


def test_a_mismatch_exits_with_1(path: Path, other: Path) -> None:
    done = run(path, "--against", other)
    assert done.exit_code == 1
    assert "FAILED" in done.stdout
    assert "first divergence: node 2 'gemm1' (Gemm)" in done.stdout
    assert "divergence" not in run(path, "--against", other, "--no-bisect").stdout


def test_json_is_all_that_is_printed(path: Path, other: Path) -> None:
    done = run(path, "--against", other, "--json", "--seed", "3", "--samples", "2")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["passed"], found["seed"], found["samples"]) == (False, 3, 2)
    assert found["divergence"]["name"] == "gemm1"


def test_limits_decide(path: Path, other: Path) -> None:
    for option in ("--atol", "--rtol"):
        assert run(path, "--against", other, option, "1e9").exit_code == 0
        assert run(path, "--against", other, option, "1e-9").exit_code == 1
    wide = ("--atol", "1e9")
    assert run(path, "--against", other, *wide, "--cosine", "0.99999999").exit_code == 1
    assert run(path, "--against", other, *wide, "--top1", "0").exit_code == 0


def test_shapes_and_ranges(path: Path) -> None:
    done = run(path, "--shapes", "x=2x16:3x16:5x16", "--range", "x=-1:2.5", "--json")
    assert json.loads(done.stdout)["inputs"] == {"x": "3x16, 2x16, 5x16 -1 to 2.5 (given)"}


def test_saved_inputs(mlp_model: models.Model, path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", mlp_model.inputs(batch=6)[0])
    done = run(path, "--inputs", tmp_path / "x.npy", "--json")
    found = json.loads(done.stdout)
    assert (found["inputs"], found["seed"]) == ({"x": "6x16 given"}, None)


def test_a_wrong_name_is_told_with_its_file(path: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", z=models.random_array(np.float32, (2, 16)))
    done = run(path, "--inputs", tmp_path / "a.npz")
    assert done.exit_code == 2
    assert done.stderr == "error: --inputs, a.npz: expected inputs named ['x'], got ['z']\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shapes", "x"), "--shapes: expected input=1x3x224x224 or input=MIN:OPT:MAX, got 'x'"),
        (("--shapes", "z=1x2"), "the model has no input 'z'"),
        (("--range", "x=1"), "--range: expected input=MIN:MAX as in x=-1:1, got 'x=1'"),
        (("--range", "x=0:inf"), "--range: x: expected finite (min, max), max excluded, got (0.0,"),
        (("--range", "x=-1e308:1e308"), "--range: x: expected numbers from -3.4"),
        (("--atol", "-1"), "atol"),
        (("--inputs", "/nowhere"), "/nowhere"),
    ],
)
def test_what_cannot_be_compared_exits_with_2(
    path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(path, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_plan_does_not_run_on_the_cpu(path: Path, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    plan.write_bytes(b"FASTTRT\0 cut short")
    done = run(path, "--plan", plan)
    assert done.exit_code == 2
    assert "truncated" in done.stderr


def test_the_warning_about_precision_names_the_option(path: Path) -> None:
    from fasttrt._cli.messages import LogFormatter

    logger, stream = logging.getLogger("fasttrt"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter())
    logger.addHandler(handler)
    try:
        assert run(path, "--precision", "fp16").exit_code == 0
    finally:
        logger.removeHandler(handler)
    text = "--precision fp16 applies to GPUs; the CPU computes in the model's own types"
    assert f"warning: {text}\n" in stream.getvalue()


def test_a_model_is_not_taken_for_a_plan(path: Path) -> None:
    done = run(path, "--plan", path)
    assert done.exit_code == 2
    assert done.stderr == f"error: --plan: expected a plan, got an ONNX model, {path}\n"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--precision", "fp16"], "--precision"),
        (["--shapes", "x=1x16"], "--shapes"),
        (["--no-tf32"], "--no-tf32"),
    ],
)
def test_what_a_plan_would_ignore_is_refused(
    path: Path, tmp_path: Path, arguments: list[str], name: str
) -> None:
    plan = tmp_path / "m.plan"
    plan.write_bytes(b"FASTTRT\0 cut short")
    done = run(path, "--plan", plan, *arguments)
    assert done.exit_code == 2
    assert done.stderr == f"error: {name}: not with --plan, which is already built\n"


def test_a_config_file_gives_options(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "fasttrt.toml"
    file.write_text('[engine]\nprecision = "fp16"\n[shapes]\nx = "1x16:7x16:9x16"\n')
    done = run(path, "--config", file, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["inputs"]["x"].startswith("7x16, 1x16, 9x16")
    assert 'precision="fp16" applies to GPUs' in caplog.text
    caplog.clear()
    assert run(path, "--config", file, "--precision", "bf16").exit_code == 0
    assert 'precision="bf16" applies to GPUs' in caplog.text


def test_the_precision_is_the_builds(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(path, "--precision", "fp16").exit_code == 0
    assert 'precision="fp16" applies to GPUs' in caplog.text
    wrong = run(path, "--precision", "half")
    assert wrong.exit_code == 2
    assert "precision: expected" in wrong.output
    contradictory = run(path, "--precision", "tf32", "--no-tf32")
    assert contradictory.exit_code == 2
