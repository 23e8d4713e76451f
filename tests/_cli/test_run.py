"""``fasttrt run`` through ONNX Runtime."""

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
from support import models
from support.randomness import new_rng


@pytest.fixture
def path(mlp_model: models.Model, tmp_path: Path) -> Path:
    return mlp_model.save(tmp_path / "m.onnx")


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


def test_saved_inputs(path: Path, mlp_model: models.Model, tmp_path: Path) -> None:
    rng = new_rng()
    xs = [rng.standard_normal((n, 16)).astype(np.float32) for n in (2, 5)]
    folder = tmp_path / "inputs"
    folder.mkdir()
    for i, x in enumerate(xs):
        np.savez(folder / f"{i}.npz", x=x)
    done = run(path, "--inputs", folder, "-o", tmp_path / "out.npz", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert "seed" not in told
    assert told["samples"] == ["0.npz", "1.npz"]
    assert told["written"] == [str(tmp_path / "out.npz")]
    with np.load(tmp_path / "out.npz") as archive:
        saved = dict(archive)
    assert saved.keys() == {"0/y", "1/y"}
    for i, x in enumerate(xs):
        y, right = saved[f"{i}/y"], mlp_model.reference(x)
        np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5)
        ((found,),) = (told["results"][i],)
        assert found["shape"] == list(y.shape)
        assert found["max"] == pytest.approx(float(y.max()))
        assert found["first"] == pytest.approx(y.ravel()[:4].tolist())


def test_results_go_into_a_folder(path: Path, mlp_model: models.Model, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    xs = {name: mlp_model.inputs(batch=n)[0] for name, n in (("cat", 1), ("dog", 3))}
    for name, x in xs.items():
        np.save(inputs / f"{name}.npy", x)
    done = run(path, "--inputs", inputs, "-o", tmp_path / "results")
    assert done.exit_code == 0, done.output
    for name, x in xs.items():
        with np.load(tmp_path / "results" / f"{name}.npz") as archive:
            y = archive["y"]
        np.testing.assert_allclose(y, mlp_model.reference(x), rtol=1e-4, atol=1e-5)
        assert f"written: {tmp_path / 'results' / name}.npz" in done.output
        assert f"{name}.npy" in done.output


def test_samples_of_one_name_are_told_apart(
    path: Path, mlp_model: models.Model, tmp_path: Path
) -> None:
    x = mlp_model.inputs(batch=2)[0]
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "a.npz", x=x)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).rename(inputs / name)
    assert run(path, "--inputs", inputs, "-o", tmp_path / "out.npz").exit_code == 0
    with np.load(tmp_path / "out.npz") as archive:
        assert set(archive) == {"a.npy/y", "a.npz/y"}


def test_no_name_of_an_output_is_taken_for_an_argument(tmp_path: Path) -> None:
    x, y = models.value("x", TensorProto.FLOAT, [2]), models.value("file", TensorProto.FLOAT, [2])
    node = helper.make_node("Neg", ["x"], ["file"])
    path = models.Model(models.make([node], [x], [y]), np.negative).save(tmp_path / "m.onnx")
    assert run(path, "-o", tmp_path / "out.npz").exit_code == 0
    with np.load(tmp_path / "out.npz") as archive:
        assert archive["file"].shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.txt"], "--output: expected a .npz or a folder"),
        (["-o", "none/out.npz"], "--output: expected a file in an existing folder, got 'none/"),
        (["--shapes", "x"], "--shapes: expected input=1x3x224x224 or input=MIN:OPT:MAX, got 'x'"),
        (["--seed", "1", "--inputs", "."], "--seed: not with --inputs"),
    ],
)
def test_errors_name_the_option(path: Path, arguments: list[str], message: str) -> None:
    done = run(path, *arguments)
    assert done.exit_code != 0
    assert isinstance(done.exception, fasttrt.InputError)  # a line on standard error from main()
    assert message in str(done.exception)


def test_numbers_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    x, y = (models.value(name, TensorProto.FLOAT, [6]) for name in "xy")
    proto = models.make([helper.make_node("Sqrt", ["x"], ["y"])], [x], [y])
    path = models.Model(proto, np.sqrt).save(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.array([-1, 4, np.inf, 9, -3, np.nan], np.float32))
    done = run(path, "--inputs", tmp_path / "x.npy", "--json")
    ((found,),) = json.loads(done.stdout, parse_constant=pytest.fail)["results"]
    assert (found["min"], found["mean"], found["max"]) == (2, 2.5, 3)
    assert (found["nan"], found["inf"]) == (3, 1)
    assert found["first"] == [None, 2, None, 3]


def test_results_that_are_text_are_told_by_their_shape(tmp_path: Path) -> None:
    x, y = models.value("x", TensorProto.FLOAT, [2]), models.value("y", TensorProto.STRING, [2])
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)
    path = models.Model(models.make([node], [x], [y]), str).save(tmp_path / "m.onnx")
    done = run(path, "--json")
    assert done.exit_code == 0, done.exception
    ((found,),) = json.loads(done.stdout)["results"]
    assert (found["name"], found["shape"]) == ("y", [2])


def test_a_file_that_is_named_as_a_plan_is_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "m.plan").write_bytes(b"no plan")
    for command in ("run", "bench", "inspect"):
        done = CliRunner().invoke(app, [command, str(tmp_path / "m.plan")])
        assert isinstance(done.exception, fasttrt.EngineLoadError)
        assert "is not a plan" in str(done.exception)
