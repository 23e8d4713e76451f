"""``fasttrt tune``, through ONNX Runtime: what it tries, writes and refuses."""

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
from fasttrt._bench.statistics import in_rounds
from fasttrt._bench.tuning import Candidate, Goal, Search, Trial
from fasttrt._cli.tune import tune
from support import models
from support.randomness import new_rng

app = typer.Typer()
app.command()(tune)


@pytest.fixture
def path(mlp_model: models.Model, tmp_path: Path) -> Path:
    return mlp_model.save(tmp_path / "m.onnx")


def run(path: Path, *arguments: str) -> Any:
    file = str(path.with_name("fasttrt.toml"))
    quick = ("--device", "cpu", "--duration", "0.1", "-o", file)
    return CliRunner().invoke(app, [str(path), *quick, *arguments])


def test_the_best_is_written_and_an_engine_takes_it(path: Path, mlp_model: models.Model) -> None:
    done = run(path, "--json", "--precision", "fp16", "--level", "4", "--contexts", "1,3")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    passing = [trial for trial in found["trials"] if trial["passed"]]
    assert found["best"] in passing
    for each in passing:
        assert each["latency"] == statistics.median(each["latencies"])
        assert each["latency_spread"] == max(each["latencies"]) - min(each["latencies"])
        assert len(each["rates"]) >= 5
    tried = [trial["candidate"] for trial in found["trials"]]
    assert len(tried) == len({json.dumps(candidate) for candidate in tried})  # none twice
    for name, value in {"precision": "fp16", "optimization_level": 4, "contexts": 3}.items():
        assert any(candidate[name] == value for candidate in tried)
    assert "these options have no effect on the CPU" in Path(found["path"]).read_text()
    options = fasttrt.load_config(found["path"])
    best = found["best"]["candidate"]
    assert options["contexts"] == best["contexts"]
    assert options["cuda_graph"] == best["cuda_graph"]
    assert options.get("precision") == best["precision"]
    x = new_rng().standard_normal((3, 16)).astype(np.float32)
    with fasttrt.Engine(path, **options) as engine:
        np.testing.assert_allclose(engine.infer(x), mlp_model.reference(x), rtol=1e-4, atol=1e-4)


def test_no_candidate_that_runs_is_an_error(path: Path) -> None:
    damaged = path.with_name("libnvinfer.so.10")
    damaged.write_bytes(b"no library")
    done = run(path, "--device", "cuda", "--library", str(damaged))
    assert isinstance(done.exception, fasttrt.Error)
    assert "no candidate runs within the limits" in str(done.exception)
    assert len(str(done.exception).splitlines()) > 1  # why
    assert not path.with_name("fasttrt.toml").exists()


def test_an_unknown_goal_is_refused(path: Path) -> None:
    done = run(path, "--goal", "speed")
    assert isinstance(done.exception, fasttrt.InputError)
    assert "--goal" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "fp16,half"), "precision: expected"),
        (("--level", "0,6"), "--level: expected integers from 0 to 5"),
        (("--level", "-1"), "--level: expected integers from 0 to 5"),
        (("-o", "none/fasttrt.toml"), "--output: expected a file in an existing folder"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_measured(
    path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(path, *arguments)
    assert isinstance(done.exception, fasttrt.InputError)
    assert message in str(done.exception)
    assert "calls/s" not in done.output


def test_the_lowest_level_may_be_tried(path: Path) -> None:
    done = run(path, "--level", "0", "--precision", "none", "--json")
    assert done.exit_code == 0, done.exception
    levels = [each["candidate"]["optimization_level"] for each in json.loads(done.stdout)["trials"]]
    assert 0 in levels


def test_the_budget_ends_the_search(path: Path) -> None:
    done = run(path, "--budget", "0", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert len(found["trials"]) == 1
    assert found["out_of_time"]


def trial(latencies: list[float], rates: list[float], passed: bool = True) -> Trial:
    return Trial(Candidate(), passed, 0.0, tuple(latencies), tuple(rates))


def test_the_simpler_options_stay_unless_the_gain_is_more_than_noise() -> None:
    first = trial([103.0, 100.0, 98.0], [980.0, 1000.0, 1030.0])
    near, far = trial([95.5], [1045.0]), trial([94.5], [1055.0])
    for goal in ("latency", "throughput"):
        assert not near.better_than(first, goal)
        assert far.better_than(first, goal)
        assert not first.better_than(first, goal)
    restless = trial([90.0, 94.5, 96.0], [1020.0, 1055.0, 1080.0])  # its own spread counts as well
    assert not restless.better_than(first, "latency")
    assert not restless.better_than(first, "throughput")
    longer = first.with_rounds_of(trial([90.0, 91.0, 92.0], [1080.0]))
    assert (longer.latency, longer.rate) == (95.0, 1015.0)
    assert not far.better_than(longer, "latency")
    assert not far.better_than(longer, "throughput")


class Scripted(Search):
    """A search whose measurements are written down: the first, and those made again."""

    latencies: dict[Candidate, list[list[float]]]

    def _measure(self, candidate: Candidate) -> Trial:
        rounds = tuple(self.latencies[candidate].pop(0))
        return Trial(candidate, True, 0.0, rounds, tuple(1e6 / us for us in rounds))

    def _measure_again(self, trial: Trial) -> Trial:
        return self._measure(trial.candidate)


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_the_best_so_far_is_measured_again_before_it_is_replaced(path: Path, goal: Goal) -> None:
    search = Scripted(path, goal, {})
    base, precise = Candidate(contexts=1), Candidate("fp16", contexts=1)
    quick, best = (Candidate("bf16", level, contexts=1) for level in (None, 5))
    search.latencies = {
        base: [[100.0, 101.0], [80.0, 81.0], [99.0, 100.0]],
        precise: [[79.0, 80.0]],  # so is the first one by then
        quick: [[60.0, 61.0], [61.0, 62.0]],  # the first one is not
        best: [[50.0, 51.0]],
    }
    found = search.run(["fp16", "bf16"], [5], ["auto"], [1])
    assert not any(search.latencies.values())
    assert found.candidate == best
    assert [len(each.latencies) for each in search.trials] == [6, 2, 4, 2]


def test_rounds_are_parts_of_a_series() -> None:
    assert in_rounds([1, 9, 2, 3, 3, 7, 5, 8, 6, 4], 5) == [5, 2.5, 5, 6.5, 5]
    assert in_rounds([1, 2, 6, 3, 5, 4, 9], 3) == [1.5, 4.5, 5]
    assert in_rounds([3, 1], 5) == [3, 1]


def test_what_is_wrong_is_never_the_best() -> None:
    wrong = trial([1.0], [1e6], passed=False)
    slow, quick, many = trial([100.0], [1e4]), trial([50.0], [2e4]), trial([80.0], [9e9])
    assert not wrong.better_than(None, "latency")
    assert not wrong.better_than(slow, "throughput")
    assert quick.better_than(slow, "latency")
    assert not slow.better_than(quick, "latency")
    assert many.better_than(quick, "throughput")
    assert not many.better_than(quick, "latency")
