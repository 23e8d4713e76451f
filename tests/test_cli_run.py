"""``fasttrt run`` through ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt.cli import app
from support import models


@pytest.fixture
def made() -> models.Model:
    return models.mlp()


@pytest.fixture
def path(made: models.Model, tmp_path: Path) -> Path:
    return made.save(tmp_path / "m.onnx")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["run", *map(str, arguments), "--device", "cpu"])


def test_random_inputs_are_told_by_their_seed(path: Path, tmp_path: Path) -> None:
    first, second = (tmp_path / f"{name}.npz" for name in "ab")
    done = run(path, "-o", first)
    assert done.exit_code == 0, done.output
    seed = done.output.split("seed ")[1].split()[0]
    assert run(path, "-o", second, "--seed", seed).exit_code == 0
    assert np.array_equal(np.load(first)["y"], np.load(second)["y"])
    other = run(path, "-o", second, "--seed", str(int(seed) + 1))
    assert other.exit_code == 0
    assert not np.array_equal(np.load(first)["y"], np.load(second)["y"])


def test_saved_inputs(path: Path, made: models.Model, tmp_path: Path) -> None:
    rng = np.random.default_rng()
    xs = [rng.standard_normal((n, 16)).astype(np.float32) for n in (2, 5)]
    folder = tmp_path / "inputs"
    folder.mkdir()
    for i, x in enumerate(xs):
        np.savez(folder / f"{i}.npz", x=x)
    done = run(path, "--inputs", folder, "-o", tmp_path / "out.npz", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert "seed" not in told
    for i, x in enumerate(xs):
        y, right = np.load(tmp_path / f"out.{i}.npz")["y"], made.reference(x)
        np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5)
        ((found,),) = (told["results"][i],)
        assert found["shape"] == list(y.shape)
        assert found["most"] == pytest.approx(float(y.max()))
        assert found["first"] == pytest.approx(y.ravel()[:4].tolist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.txt"], "--output: expected a .npz"),
        (["--shapes", "x"], "--shapes: expected input=..., got 'x'"),
    ],
)
def test_errors_name_the_option(path: Path, arguments: list[str], message: str) -> None:
    done = run(path, *arguments)
    assert done.exit_code != 0
    assert isinstance(done.exception, fasttrt.InputError)  # a line on standard error from main()
    assert message in str(done.exception)
