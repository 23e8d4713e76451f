"""``fasttrt bench``, through ONNX Runtime: what it prints, measures and refuses."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import fasttrt
from fasttrt import InputError
from fasttrt._bench import measurement as cases
from fasttrt._bench import sweeps
from fasttrt._bench.closed_loop import Scale, drive
from fasttrt._bench.statistics import summarize
from fasttrt._cli.bench import bench
from support import models
from support.randomness import new_rng

app = typer.Typer()
app.command()(bench)
QUICK = ("--device", "cpu", "--runs", "20", "--duration", "0.1", "--warmup", "0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.mlp().save(tmp_path / "m.onnx")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments), *QUICK])


def test_every_combination_is_a_case(path: Path, tmp_path: Path) -> None:
    other = models.mlp((16, 24, 4)).save(tmp_path / "other.onnx")
    done = run(path, other, "--batch", "1,3", "--concurrency", "1,2", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert [(c["model"], c["batch"], c["concurrency"]) for c in found] == [
        (str(model), batch, threads)
        for model in (path, other)
        for batch in (1, 3)
        for threads in (1, 2)
    ]
    for case in found:
        assert set(case["times_us"]) == {"infer() wall time"}  # the CPU has no GPU events
        times = case["times_us"]["infer() wall time"]
        assert 0 < times["min"] <= times["median"] <= times["p90"] <= times["p99"] <= times["max"]
        assert case["throughput"] is None
        assert case["rate"] > 0


def test_the_table_names_its_conditions(path: Path) -> None:
    done = run(path, "--batch", "2")
    assert done.exit_code == 0, done.exception
    assert "infer() wall time" in done.stdout
    assert "m.onnx, as stated, batch 2, contexts 2, concurrency 1" in done.stdout
    assert "transfers yes, CUDA graph none, wait auto" in done.stdout
    assert "on the CPU" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch", "0"), "--batch: expected integers >= 1"),
        (("--concurrency", "x"), "--concurrency: expected integers from 1 to 1024"),
        (("--shapes", "x"), "--shapes: expected input=1x3x224x224 or input=MIN:OPT:MAX, got 'x'"),
        (("--shapes", "x=1x16:2x16:4x16", "--batch", "5"), "batch: x expected 1 to 4, got 5"),
        (("--plot", "m.png"), "--plot: expected several values"),
        (("--plot", "m.foo"), "--plot: expected one of .png, .svg, .pdf, got 'm.foo'"),
    ],
)
def test_what_does_not_fit_is_named(path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(path, *arguments)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not done.stdout  # before anything is measured


@pytest.mark.parametrize(
    ("fault", "code"), [(fasttrt.BuildError("out of luck"), 1), (KeyboardInterrupt(), 130)]
)
def test_what_was_measured_is_kept(
    path: Path, fault: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = cases.measure

    def measure(*arguments: Any, **named: Any) -> Any:
        if named["concurrency"] == 2:
            raise fault
        return measured(*arguments, **named)

    monkeypatch.setattr(sweeps, "measure", measure)
    done = run(path, "--batch", "1,3", "--concurrency", "1,2", "--json")
    assert done.exit_code == code
    (case,) = json.loads(done.stdout)
    assert (case["batch"], case["concurrency"]) == (1, 1)


def test_all_models_are_looked_at_before_any_is_measured(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "Engine", pytest.fail)
    fixed = models.mlp(batch=2).save(tmp_path / "fixed.onnx")
    done = run(path, fixed, "--batch", "2,4")
    assert "batch: x expected 2, got 4 (in fixed.onnx)" in str(done.exception)
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    done = run(path, tmp_path / "damaged.onnx")
    assert isinstance(done.exception, fasttrt.ParseError)


def test_a_plot_is_an_image(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run(path, "--batch", "1,2", "--plot", tmp_path / "p.png")
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_config_file_gives_options(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "fasttrt.toml"
    file.write_text('[engine]\ncontexts = 3\n[shapes]\nx = "1x16:7x16:9x16"\n')
    done = run(path, "--config", file, "--json")
    assert done.exit_code == 0, done.exception
    (case,) = json.loads(done.stdout)
    assert (case["contexts"], case["batch"]) == (3, 7)


def test_statistics_are_those_of_the_sorted_times() -> None:
    times = new_rng().permutation(64).astype(float).tolist()
    found = summarize(times)
    assert (found.runs, found.min, found.max) == (64, 0, 63)
    assert (found.mean, found.median) == (statistics.mean(times), statistics.median(times))
    assert (found.p90, found.p95, found.p99) == (57, 60, 63)


def test_a_failing_thread_ends_the_loop() -> None:
    def call(x: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(call, [(np.ones(1),)], 3, Scale(1, 0.01, 0), 0, lambda y, i: None)
