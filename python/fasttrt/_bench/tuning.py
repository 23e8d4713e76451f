"""Looking for the options with which a model runs best."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from fasttrt._bench.inputs import draw
from fasttrt._bench.measurement import ROUNDS, Effort, call_rates, refuse_several, wall_times
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
    """The options that are tried; None: as the library has it."""

    precision: str | None = None
    optimization_level: int | None = None
    cuda_graph: bool | str = "auto"
    contexts: int = 2


@dataclass(frozen=True)
class Trial:
    """What came of one."""

    candidate: Candidate
    passed: bool
    """Whether all outputs are within the limits."""
    error: float | None
    """The largest absolute error of all outputs; None where it did not run."""
    latencies: tuple[float, ...] = ()
    """Median wall time of infer() in each of the rounds, one call after the other, in us."""
    rates: tuple[float, ...] = ()
    """Calls a second in each of the rounds, from as many threads as ``concurrency``."""
    note: str = ""
    """Why it did not run, or is wrong."""

    @property
    def latency(self) -> float:
        """The median of the rounds."""
        return median(self.latencies)

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return median(self.rates)

    def better_than(self, other: "Trial | None", goal: Goal) -> bool:
        """Whether it is the one to take: it gains more than the rounds of either differ."""
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
        """The same, measured for longer."""
        return replace(
            self, latencies=self.latencies + again.latencies, rates=self.rates + again.rates
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, with medians and spreads."""
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
    """Between the smallest and the largest."""
    return max(rounds) - min(rounds)


@dataclass
class Search:
    """Goes through one option after the other, each from the best that was found so far.

    So not all combinations are tried: precisions first, which matter most, then optimization
    levels, CUDA graphs, contexts. The first candidate, without any of them, stays the best until
    another gains more than noise, see `Trial.better_than`: also next to the best so far as it is
    measured again then, as the machine may have become quicker.
    """

    model: Path
    goal: Goal
    options: dict[str, Any]
    """Others of `Engine`, for all candidates."""
    inputs: Path | None = None
    """Saved samples for the errors, see `fasttrt.compare`; else random ones."""
    thresholds: dict[str, float] | None = None
    concurrency: int = 4
    time_budget: float = 300.0
    """No candidate is begun after so many seconds."""
    effort: Effort = field(default_factory=lambda: Effort(1000, 1.0, 0.2))
    seed: int = 0
    report: Callable[[Trial], None] = lambda trial: None
    trials: list[Trial] = field(default_factory=list)
    out_of_time: bool = False
    on_cpu: bool = False
    """Whether ONNX Runtime ran the candidates, for which none of the options counts."""

    def run(
        self, precisions: Sequence[str], levels: Sequence[int], graphs: Sequence[bool | str],
        contexts: Sequence[int],
    ) -> Trial:  # fmt: skip
        """The best of what was tried.

        Raises:
            InputError: an option has no such value.
            ParseError: it is no ONNX model.
            Error: no candidate is within the limits; quotes why.
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
                wanted: Any = {name: value}
                self.engine_options(replace(base, **wanted))
        self._source()
        best = self._tried(base, None)
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
                best = self._tried(candidate, best)
        if best is None:
            notes = "\n".join(dict.fromkeys(trial.note for trial in self.trials))
            raise Error(f"nothing that was tried runs within the limits:\n{notes}")
        return best

    def engine_options(self, candidate: Candidate) -> dict[str, Any]:
        """All options of `Engine` for a candidate."""
        config = self.options.get("config") or BuildConfig()
        if candidate.optimization_level is not None:
            config = replace(config, optimization_level=candidate.optimization_level)
        own = {"cuda_graph": candidate.cuda_graph, "contexts": candidate.contexts}
        if candidate.precision is not None:
            config = replace(config, precision=candidate.precision)
        return self.options | own | {"config": config}

    def _tried(self, candidate: Candidate, best: Trial | None) -> Trial | None:
        try:
            trial = self._measured(candidate)
        except InputError:
            raise  # the call is wrong, not the candidate
        except Error as error:
            trial = Trial(candidate, False, None, note=str(error))
        self.trials.append(trial)
        self.report(trial)
        if best is not None and trial.better_than(best, self.goal):
            longer = best.with_rounds_of(self._measured_again(best))
            self.trials[self.trials.index(best)] = best = longer
        return trial if trial.better_than(best, self.goal) else best

    def _measured(self, candidate: Candidate) -> Trial:
        with self._opened(candidate) as engine:
            self.on_cpu = engine.device == "cpu"
            found = compare(
                self.model, self.inputs, engine=engine, seed=None if self.inputs else self.seed,
                thresholds=self.thresholds, bisect=False, **changes_of(self.options),
            )  # fmt: skip
            errors = [o.max_abs_error for o in found.outputs if o.max_abs_error is not None]
            trial = Trial(candidate, found.passed, max(errors, default=None))
            if not found.passed:
                reasons = [f"{o.name}: {reason}" for o in found.outputs for reason in o.reasons]
                return replace(trial, note="; ".join(reasons))
            return self._timed(engine, trial)

    def _measured_again(self, trial: Trial) -> Trial:
        with self._opened(trial.candidate) as engine:
            return self._timed(engine, trial)

    def _source(self) -> OnnxModel:
        return transformed(OnnxModel(self.model), **changes_of(self.options))

    def _opened(self, candidate: Candidate) -> Engine:
        return Engine(self.model, **self.engine_options(candidate))

    def _timed(self, engine: Engine, trial: Trial) -> Trial:
        refuse_several(engine)
        arrays = draw(engine, self._source(), None, self.seed)
        walls = wall_times(engine, arrays, self.effort)
        rates = call_rates(engine, arrays, self.effort, self.concurrency)
        return replace(trial, latencies=tuple(in_rounds(walls, ROUNDS)), rates=tuple(rates.rounds))


def as_file(best: Trial, others: dict[str, Any], comment: str) -> str:
    """The text of a ``fasttrt.toml`` with the candidate, and the given options besides."""
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
    tables["shapes"] = {name: _trtexec(given) for name, given in tables["shapes"].items()}
    return dumps(tables, comment)


def changed_fields(options: Any) -> dict[str, Any]:
    """What of a dataclass is not its default."""
    return {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) not in (None, field.default)
    }


def _trtexec(shapes: ShapeLike) -> str:
    """A shape, or (min, opt, max), as a file has it."""
    return ":".join("x".join(map(str, shape)) for shape in parse_range("", shapes))
