"""``fasttrt tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from fasttrt._file_kinds import OPTIONS
from fasttrt._files import Output
from fasttrt._saved_samples import saved_files
from fasttrt.cli import _options

if TYPE_CHECKING:
    from fasttrt._bench.tuning import Goal, Search, Trial

_NOISE = "on the CPU none of these options counts: the differences are noise"


def tune(
    model: Annotated[Path, typer.Argument(help="An ONNX model.", exists=True, dir_okay=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the best options.")
    ] = Path("fasttrt.toml"),
    goal: Annotated[str, typer.Option(help='What counts: "latency" or "throughput".')] = "latency",
    precision: Annotated[str, typer.Option(help="Which to try.")] = "tf32,fp16,bf16",
    level: Annotated[str, typer.Option(help="Optimization levels to try; or none.")] = "3,5",
    cuda_graph: Annotated[bool, typer.Option(help="Whether to try without, too.")] = True,
    contexts: Annotated[str, typer.Option(help="Which numbers to try.")] = "1,2,4",
    concurrency: Annotated[int, typer.Option(help="Threads that call, for throughput.", min=2)] = 4,
    inputs: Annotated[
        Path | None,
        typer.Option(help="Samples to judge the errors by; else random ones.", exists=True),
    ] = None,
    atol: Annotated[float | None, typer.Option(help="The largest absolute error.", min=0)] = None,
    rtol: Annotated[float | None, typer.Option(help="The largest relative error.", min=0)] = None,
    cosine: Annotated[float | None, typer.Option(help="The least similarity.", max=1)] = None,
    top1: Annotated[float | None, typer.Option(help="The least agreement.", min=0, max=1)] = None,
    shapes: _options.Shapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    device: _options.Device = None,
    library: _options.Library = None,
    budget: Annotated[float, typer.Option(help="Seconds; none is begun later.", min=0)] = 300.0,
    duration: Annotated[float, typer.Option(help="Seconds of a series.", min=0.01)] = 1.0,
    seed: _options.Seed = 0,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Find the options with which a model runs best and is right, and write them to a file.

    One option after the other is changed, from the best so far: precision, optimization level, CUDA
    graph, contexts. It has to gain more than the spread of the measured rounds, else the simpler
    options stay. Answers are held against ONNX Runtime's, see fasttrt compare. Use the file with
    Engine(model, **fasttrt.load_config("fasttrt.toml")), or as --config of other commands.
    """
    from fasttrt import InputError
    from fasttrt._bench.cases import Effort
    from fasttrt._bench.opening import engine_options, integers
    from fasttrt._bench.tuning import Search, as_file

    if goal not in ("latency", "throughput"):
        raise InputError(f'--goal: expected "latency" or "throughput", got {goal!r}')
    _options.show_log(verbose)
    target = Output(output, OPTIONS, [model, *saved_files(inputs)], force)
    target.check("--output")
    limits = {"atol": atol, "rtol": rtol, "cosine": cosine, "top1": top1}
    options = engine_options(None, device, library, shapes, freeze, dims)
    search = Search(
        model, cast("Goal", goal), options, inputs=inputs,
        thresholds={k: v for k, v in limits.items() if v is not None} or None,
        concurrency=concurrency, time_budget=budget, effort=Effort(1000, duration, duration / 5),
        seed=seed, report=lambda trial: None if as_json else _options.say(_line(trial), err=True),
    )  # fmt: skip
    best = search.run(
        precision.split(",") if precision != "none" else [],
        integers("level", level, least=0) if level != "none" else [],
        ["auto", False] if cuda_graph else ["auto"],
        integers("contexts", contexts),
    )
    comment = f"{model.name}, the best {goal} that fasttrt tune found: {_line(best)}"
    if search.on_cpu:
        comment += f"\n{_NOISE}"
    with target.open() as stream:
        stream.write(as_file(best, options, comment).encode())
    if as_json:
        _options.say(_options.json_text(_document(search, best, output)))
        return
    _options.say(_line(best))
    if best == search.trials[0] and len(search.trials) > 1:
        _options.say(f"{len(search.trials) - 1} others are not better by more than noise, or wrong")
    if search.out_of_time:
        _options.say(f"after {budget:g} s not all was tried; --budget gives more")
    if search.on_cpu:
        _options.say(_NOISE)
    _options.say(f"written: {output}")


def _line(trial: "Trial") -> str:
    from fasttrt._bench.tuning import spread

    c = trial.candidate
    level = "default" if c.optimization_level is None else c.optimization_level
    told = (
        f"precision {c.precision or 'as stated'}, level {level}, CUDA graph {c.cuda_graph}, "
        f"contexts {c.contexts}: "
    )
    if not trial.latencies:
        return told + (trial.note.splitlines() or ["did not run"])[0]
    error = "" if trial.error is None else f", largest error {trial.error:.3g}"
    spreads = f"(spread {spread(trial.latencies):.1f})", f"(spread {spread(trial.rates):.1f})"
    return told + (
        f"{trial.latency:.1f} us {spreads[0]}, {trial.rate:.1f} calls/s {spreads[1]}{error}"
    )


def _document(search: "Search", best: "Trial", output: Path) -> dict[str, Any]:
    return {
        "best": best.to_json(),
        "trials": [trial.to_json() for trial in search.trials],
        "out_of_time": search.out_of_time,
        "path": str(output),
    }
