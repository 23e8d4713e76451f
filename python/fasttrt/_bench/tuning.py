"""Search for the options with which a model runs fastest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from fasttrt._bench.inputs import draw
from fasttrt._bench.measurement import ROUNDS, Budget, call_rates, check_single_device, wall_times
from fasttrt._bench.statistics import in_rounds
from fasttrt._compare import compare
from fasttrt._engine.engine import Engine
from fasttrt._engine.options_file import dumps
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import changes_of, transformed
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.profiles import ShapeLike, parse_range
from fasttrt.errors import Error, InputError

Goal = Literal["latency", "throughput"]


@dataclass(frozen=True)
class Candidate:
    """The options to try; None for the library's default."""

    precision: str | None = None
    optimization_level: int | None = None
    cuda_graph: bool | str = "auto"
    contexts: int = 2


@dataclass(frozen=True)
class Trial:
    """The result of trying a candidate."""

    candidate: Candidate
    passed: bool
    """Whether all outputs are within the limits."""
    error: float | None
    """The maximum absolute error of all outputs; None if it did not run."""
    latencies: tuple[float, ...] = ()
    """The median wall time of infer() in each of the rounds, one call after another, in us."""
    rates: tuple[float, ...] = ()
    """Calls per second in each of the rounds, from ``concurrency`` threads."""
    note: str = ""
    """Why it did not run, or is outside the limits."""

    @property
    def latency(self) -> float:
        """The median of the rounds."""
        return median(self.latencies)

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return median(self.rates)

    def better_than(self, other: "Trial | None", goal: Goal) -> bool:
        """Return whether it is better by more than the variation between rounds of either trial."""
        if not self.passed:
            return False
        if other is None:
            return True
        if goal == "latency":
            gain, rounds = other.latency - self.latency, (self.latencies, other.latencies)
        else:
            gain, rounds = self.rate - other.rate, (self.rates, other.rates)
        return gain > max(map(spread, rounds))

    def with_rounds_of(self, again: "Trial") -> "Trial":
        """Return this trial with the rounds of another measurement added."""
        return replace(
            self, latencies=self.latencies + again.latencies, rates=self.rates + again.rates
        )

    def to_json(self) -> dict[str, Any]:
        """Return all figures as JSON values, with medians and spreads."""
        medians: dict[str, Any] = dict.fromkeys(
            ("latency", "latency_spread", "rate", "rate_spread")
        )
        if self.latencies:
            medians = {
                "latency": self.latency, "latency_spread": spread(self.latencies),
                "rate": self.rate, "rate_spread": spread(self.rates),
            }  # fmt: skip
        return asdict(self) | medians


def spread(rounds: Sequence[float]) -> float:
    """Return the difference between the largest and the smallest."""
    return max(rounds) - min(rounds)


@dataclass
class Search:
    """Varies one option after another, each time starting from the best candidate so far.

    So not all combinations are tried: precisions first, which matter most, then optimization
    levels, CUDA graphs, contexts. The first candidate, with all defaults, stays the best until
    another one gains more than noise, see `Trial.better_than`. The best so far is then measured
    again, as the machine may have become faster.
    """

    model: Path
    goal: Goal
    options: dict[str, Any]
    """Other options of `Engine`, for all candidates."""
    inputs: Path | None = None
    """Saved samples on which to check outputs, see `fasttrt.compare`; None for random ones."""
    thresholds: dict[str, float] | None = None
    concurrency: int = 4
    time_budget: float = 300.0
    """The time in seconds after which no candidate is started."""
    budget: Budget = field(default_factory=lambda: Budget(1000, 1.0, 0.2))
    seed: int = 0
    report: Callable[[Trial], None] = lambda trial: None
    trials: list[Trial] = field(default_factory=list)
    out_of_time: bool = False
    on_cpu: bool = False
    """Whether ONNX Runtime ran the candidates, on which none of the options has an effect."""

    def run(
        self, precisions: Sequence[str], levels: Sequence[int], graphs: Sequence[bool | str],
        contexts: Sequence[int],
    ) -> Trial:  # fmt: skip
        """Run the search and return the best trial.

        Raises:
            InputError: a value of an option is invalid.
            ParseError: the file is not an ONNX model.
            Error: no candidate is within the limits; the message includes the reasons.
        """
        start = time.perf_counter()
        base = Candidate(contexts=contexts[0] if contexts else 2)
        axes: dict[str, Sequence[Any]] = {
            "precision": precisions,
            "optimization_level": levels,
            "cuda_graph": graphs,
            "contexts": contexts,
        }
        for name, values in axes.items():  # before any is measured
            for value in values:
                change: Any = {name: value}
                self.engine_options(replace(base, **change))
        self._source()
        best = self._try(base, None)
        for name, values in axes.items():
            centre = best.candidate if best is not None else base
            for value in values:
                changed: Any = {name: value}
                candidate = replace(centre, **changed)
                if any(trial.candidate == candidate for trial in self.trials):
                    continue
                if time.perf_counter() - start > self.time_budget:
                    self.out_of_time = True
                    break
                best = self._try(candidate, best)
        if best is None:
            notes = "\n".join(dict.fromkeys(trial.note for trial in self.trials))
            raise Error(f"no candidate runs within the limits:\n{notes}")
        return best

    def engine_options(self, candidate: Candidate) -> dict[str, Any]:
        """Return all options of `Engine` for a candidate."""
        config = self.options.get("config") or BuildConfig()
        if candidate.optimization_level is not None:
            config = replace(config, optimization_level=candidate.optimization_level)
        own = {"cuda_graph": candidate.cuda_graph, "contexts": candidate.contexts}
        if candidate.precision is not None:
            config = replace(config, precision=candidate.precision)
        return self.options | own | {"config": config}

    def _try(self, candidate: Candidate, best: Trial | None) -> Trial | None:
        try:
            trial = self._measure(candidate)
        except InputError:
            raise  # the call is wrong, not the candidate
        except Error as error:
            trial = Trial(candidate, False, None, note=str(error))
        self.trials.append(trial)
        self.report(trial)
        if best is not None and trial.better_than(best, self.goal):
            longer = best.with_rounds_of(self._measure_again(best))
            self.trials[self.trials.index(best)] = best = longer
        return trial if trial.better_than(best, self.goal) else best

    def _measure(self, candidate: Candidate) -> Trial:
        with self._open(candidate) as engine:
            self.on_cpu = engine.device == "cpu"
            comparison = compare(
                self.model, self.inputs, engine=engine, seed=None if self.inputs else self.seed,
                thresholds=self.thresholds, bisect=False, **changes_of(self.options),
            )  # fmt: skip
            errors = [o.max_abs_error for o in comparison.outputs if o.max_abs_error is not None]
            trial = Trial(candidate, comparison.passed, max(errors, default=None))
            if not comparison.passed:
                reasons = [
                    f"{o.name}: {reason}" for o in comparison.outputs for reason in o.reasons
                ]
                return replace(trial, note="; ".join(reasons))
            return self._time(engine, trial)

    def _measure_again(self, trial: Trial) -> Trial:
        with self._open(trial.candidate) as engine:
            return self._time(engine, trial)

    def _source(self) -> OnnxModel:
        return transformed(OnnxModel(self.model), **changes_of(self.options))

    def _open(self, candidate: Candidate) -> Engine:
        return Engine(self.model, **self.engine_options(candidate))

    def _time(self, engine: Engine, trial: Trial) -> Trial:
        check_single_device(engine)
        arrays = draw(engine, self._source(), None, self.seed)
        walls = wall_times(engine, arrays, self.budget)
        rates = call_rates(engine, arrays, self.budget, self.concurrency)
        return replace(trial, latencies=tuple(in_rounds(walls, ROUNDS)), rates=tuple(rates.rounds))


def as_file(best: Trial, others: dict[str, Any], comment: str) -> str:
    """Format a ``fasttrt.toml`` with the candidate's and other options."""
    values = asdict(best.candidate)
    level = values.pop("optimization_level")
    options = {k: v for k, v in (others | values).items() if v is not None}
    build = changed_fields(options.pop("config", BuildConfig()))
    if level is not None:
        build["optimization_level"] = level
    tables: dict[str, dict[str, Any]] = {"engine": options, "build": build}
    if "batching" in options:
        tables["batching"] = changed_fields(options.pop("batching"))
    for name in ("shapes", "freeze", "dims"):
        tables[name] = options.pop(name, {})
    tables["shapes"] = {name: _trtexec(value) for name, value in tables["shapes"].items()}
    return dumps(tables, comment)


def changed_fields(options: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults."""
    return {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) not in (None, field.default)
    }


def _trtexec(shapes: ShapeLike) -> str:
    """Format a shape, or (min, opt, max), in trtexec's notation."""
    return ":".join("x".join(map(str, shape)) for shape in parse_range("", shapes))
