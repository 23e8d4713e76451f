"""``fasttrt tune``, through ONNX Runtime: what it tries, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import fasttrt
from fasttrt._bench.tuning import Candidate, Trial
from fasttrt.cli.tune import tune
from support import models

app = typer.Typer()
app.command()(tune)


@pytest.fixture
def made() -> models.Model:
    return models.mlp()


@pytest.fixture
def path(made: models.Model, tmp_path: Path) -> Path:
    return made.save(tmp_path / "m.onnx")


def run(path: Path, *arguments: str) -> Any:
    file = str(path.with_name("fasttrt.toml"))
    quick = ("--device", "cpu", "--duration", "0.02", "-o", file)
    return CliRunner().invoke(app, [str(path), *quick, *arguments])


def test_the_best_is_written_and_an_engine_takes_it(path: Path, made: models.Model) -> None:
    done = run(path, "--json", "--precision", "fp16", "--level", "4", "--contexts", "1,3")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    passing = [trial for trial in found["trials"] if trial["passed"]]
    assert found["best"]["latency"] == min(trial["latency"] for trial in passing)
    tried = [trial["candidate"] for trial in found["trials"]]
    assert len(tried) == len({json.dumps(candidate) for candidate in tried})  # none twice
    for name, value in {"precision": "fp16", "optimization_level": 4, "contexts": 3}.items():
        assert any(candidate[name] == value for candidate in tried)
    assert "on the CPU none of these options counts" in Path(found["path"]).read_text()
    options = fasttrt.load_config(found["path"])
    best = found["best"]["candidate"]
    assert options["contexts"] == best["contexts"]
    assert options["cuda_graph"] == best["cuda_graph"]
    assert options.get("precision") == best["precision"]
    x = np.random.default_rng().standard_normal((3, 16)).astype(np.float32)
    with fasttrt.Engine(path, **options) as engine:
        np.testing.assert_allclose(engine.infer(x), made.reference(x), rtol=1e-4, atol=1e-4)


def test_no_candidate_that_runs_is_an_error(path: Path) -> None:
    missing = str(path.with_name("libnvinfer.so.10"))
    done = run(path, "--device", "cuda", "--library", missing)
    assert isinstance(done.exception, fasttrt.Error)
    assert "nothing that was tried runs within the limits" in str(done.exception)
    assert len(str(done.exception).splitlines()) > 1  # why
    assert not path.with_name("fasttrt.toml").exists()


def test_an_unknown_goal_is_refused(path: Path) -> None:
    done = run(path, "--goal", "speed")
    assert isinstance(done.exception, fasttrt.InputError)
    assert "--goal" in str(done.exception)


def test_the_budget_ends_the_search(path: Path) -> None:
    done = run(path, "--budget", "0", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert len(found["trials"]) == 1
    assert found["out_of_time"]


def test_what_is_wrong_is_never_the_best() -> None:
    wrong = Trial(Candidate("fp16"), False, 9.0, 1.0, 1e6)
    slow, quick = (Trial(Candidate(), True, 0.0, us, 1e6 / us) for us in (100.0, 50.0))
    many = Trial(Candidate(contexts=4), True, 0.0, 80.0, 9e9)
    assert not wrong.better_than(None, "latency")
    assert not wrong.better_than(slow, "throughput")
    assert quick.better_than(slow, "latency")
    assert not slow.better_than(quick, "latency")
    assert many.better_than(quick, "throughput")
    assert not many.better_than(quick, "latency")
