"""``fasttrt tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from fasttrt._cli import options as _options
from fasttrt._cli.values import (
    PRECISIONS,
    check_seconds,
    engine_options,
    integers,
    one_of,
    with_build_options,
)
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._common.output_file import Output
from fasttrt._engine.options_file import OPTIONS
from fasttrt._runtime.sample_files import saved_files

if TYPE_CHECKING:
    from fasttrt._bench.tuning import Goal, Search, Trial

_NOISE = "these options have no effect on the CPU: any difference is noise"


def tune(
    model: _options.Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The file to write the best options to.", metavar="FILE",
            rich_help_panel=_options.OUTPUT,
        ),
    ] = Path("fasttrt.toml"),
    goal: Annotated[
        str, typer.Option(help="What to optimize: latency or throughput.", metavar="GOAL")
    ] = "latency",
    precision: Annotated[
        str, typer.Option(help="Precisions to try, or none.", metavar="LIST")
    ] = "tf32,fp16,bf16",
    level: Annotated[
        str, typer.Option(help="Optimization levels to try, or none.", metavar="LIST")
    ] = "3,5",
    cuda_graph: Annotated[bool, typer.Option(help="Try without CUDA graphs too.")] = True,
    contexts: Annotated[
        str, typer.Option(help="Numbers of execution contexts to try.", metavar="LIST")
    ] = "1,2,4",
    concurrency: Annotated[
        int,
        typer.Option(help="The number of calling threads for throughput.", min=2, metavar="N"),
    ] = 4,
    budget: Annotated[
        float,
        typer.Option(help="Start no more trials after this time.", min=0, metavar="SECONDS"),
    ] = 300.0,
    duration: Annotated[
        float,
        typer.Option(
            help="The maximum duration of a series of runs.", min=0.01, metavar="SECONDS"
        ),
    ] = 1.0,
    inputs: _options.Samples = None,
    seed: _options.Seed = 0,
    atol: _options.MaxAbsError = None,
    rtol: _options.MaxRelError = None,
    cosine: _options.MinCosine = None,
    top1: _options.MinTop1 = None,
    shapes: _options.Shapes = None,
    min_shapes: _options.MinShapes = None,
    opt_shapes: _options.OptShapes = None,
    max_shapes: _options.MaxShapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    plugins: _options.Plugins = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:  # fmt: skip
    """Find the options with which a model runs fastest.

    Changes one option after another, starting from the best options so far: precision, optimization
    level, CUDA graph, contexts. A change must gain more than the variation between measurements,
    or the simpler options stay, and the outputs must match ONNX Runtime's as in fasttrt compare.
    Use the file as --config of other commands, or in Python:
    Engine(model, **fasttrt.load_config("fasttrt.toml")).
    """
    from fasttrt._bench.measurement import Budget
    from fasttrt._bench.tuning import Search, as_file

    check_seconds("duration", duration)
    one_of("goal", goal, ("latency", "throughput"))
    precisions = [p.strip() for p in precision.split(",")] if precision != "none" else []
    for each in precisions:
        one_of("precision", each, PRECISIONS)
    levels = integers("level", level, min_=0, max_=5) if level != "none" else []
    counts = integers("contexts", contexts, max_=1024)
    _options.show_log(verbose)
    target = Output(output, OPTIONS, [model, *saved_files(inputs)], force)
    target.check("--output")
    limits = {"atol": atol, "rtol": rtol, "cosine": cosine, "top1": top1}
    options = engine_options(
        config=config, device=device, library=library, plugins=plugins,
        shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes), freeze=freeze, dims=dims,
    )  # fmt: skip
    options.pop("precision", None)  # the file's, which the trials replace
    if "config" in options:
        options = with_build_options(options, precision=None)
    search = Search(
        model, cast("Goal", goal), options, inputs=inputs,
        thresholds={k: v for k, v in limits.items() if v is not None} or None,
        concurrency=concurrency, time_budget=budget, budget=Budget(1000, duration, duration / 5),
        seed=seed, report=lambda trial: None if as_json else _options.say(_line(trial), err=True),
    )  # fmt: skip
    best = search.run(precisions, levels, ["auto", False] if cuda_graph else ["auto"], counts)
    comment = f"{model.name}, the best {goal} found by fasttrt tune: {_line(best)}"
    if search.on_cpu:
        comment += f"\n{_NOISE}"
    with target.open() as stream:
        stream.write(as_file(best, options, comment).encode())
    if as_json:
        _options.say(_options.json_text(_document(search, best, output)))
        return
    _options.say(_line(best))
    if best == search.trials[0] and len(search.trials) > 1:
        _options.say(f"{len(search.trials) - 1} others gain no more than noise, or are wrong")
    if search.out_of_time:
        _options.say(f"not everything was tried within {budget:g} s; increase --budget")
    if search.on_cpu:
        _options.say(_NOISE)
    _options.say(f"written: {output}")


def _line(trial: "Trial") -> str:
    from fasttrt._bench.tuning import spread

    c = trial.candidate
    level = "default" if c.optimization_level is None else c.optimization_level
    text = (
        f"precision {c.precision or 'as stated'}, level {level}, CUDA graph {c.cuda_graph}, "
        f"contexts {c.contexts}: "
    )
    if not trial.latencies:
        return text + (trial.note.splitlines() or ["did not run"])[0]
    error = "" if trial.error is None else f", largest error {trial.error:.3g}"
    spreads = f"(spread {spread(trial.latencies):.1f})", f"(spread {spread(trial.rates):.1f})"
    return text + (
        f"{trial.latency:.1f} us {spreads[0]}, {trial.rate:.1f} calls/s {spreads[1]}{error}"
    )


def _document(search: "Search", best: "Trial", output: Path) -> dict[str, Any]:
    return {
        "best": best.to_json(),
        "trials": [trial.to_json() for trial in search.trials],
        "out_of_time": search.out_of_time,
        "path": str(output),
    }
