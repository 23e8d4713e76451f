"""``fasttrt bench``."""

from pathlib import Path
from typing import Annotated

import typer

from fasttrt._cli import options as _options
from fasttrt._cli.values import PRECISIONS, check_seconds, engine_options, integers, one_of
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._cli.values import tuned as parse_tuned
from fasttrt._common.tables import output_width
from fasttrt.errors import Error

_PLOTS = (".png", ".svg", ".pdf")
_SWEEP = "Sweep"
_MEASUREMENT = "Measurement"


def bench(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="ONNX models or plans, measured one after the other.", metavar="MODELS",
            exists=True, dir_okay=False,
        ),
    ],
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, tf32, fp16 or bf16, or several: fp32,fp16.", metavar="LIST",
            show_default="as the model states", rich_help_panel=_SWEEP,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes, for inputs whose first dimension is dynamic: 1,8,32.",
            metavar="LIST", show_default="the one built for", rich_help_panel=_SWEEP,
        ),
    ] = None,
    contexts: Annotated[
        str | None,
        typer.Option(
            help="Execution contexts, which is how many runs may overlap: 1,2,4.",
            metavar="LIST", show_default="2", rich_help_panel=_SWEEP,
        ),
    ] = None,
    concurrency: Annotated[
        str,
        typer.Option(
            help="Threads that call infer() again and again: 1,8.", metavar="LIST",
            rich_help_panel=_SWEEP,
        ),
    ] = "1",
    shapes: _options.Shapes = None,
    min_shapes: _options.MinShapes = None,
    opt_shapes: _options.OptShapes = None,
    max_shapes: _options.MaxShapes = None,
    tuned: _options.Tuned = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    plugins: _options.Plugins = None,
    runs: Annotated[
        int,
        typer.Option(
            help="The maximum number of timed runs of a case.", min=3, metavar="N",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = 1000,
    duration: Annotated[
        float,
        typer.Option(
            help="The maximum duration of a series of runs.", min=0.01, metavar="SECONDS",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = 3.0,
    warmup: Annotated[
        float,
        typer.Option(
            help="Seconds of untimed runs before a series.", min=0, metavar="SECONDS",
            rich_help_panel=_MEASUREMENT,
        ),
    ] = 0.2,
    seed: _options.Seed = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Plot the sweep: a .png, .svg or .pdf.", metavar="FILE",
            rich_help_panel=_options.OUTPUT,
        ),
    ] = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:  # fmt: skip
    """Measure latency and throughput, in trtexec's terms.

    H2D Latency, GPU Compute Time and D2H Latency are measured between GPU events, and Latency is
    their sum. Enqueue Time is the host's time to enqueue a run or launch its graph. Throughput is
    queries per GPU time. The wall time of infer(), which trtexec does not report, includes Python.

    All values are checked before the first case is measured. If a case fails, or Ctrl-C is pressed,
    the cases measured so far are printed.
    """
    from fasttrt._bench import sweeps
    from fasttrt._bench.measurement import Budget, Case

    _options.show_log(verbose)
    precisions: list[str | None] = [None]
    if precision is not None:
        precisions = [one_of("precision", p.strip(), PRECISIONS) for p in precision.split(",")]
    options = engine_options(
        config=config, device=device, library=library, plugins=plugins, freeze=freeze, dims=dims,
        shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes), tuned=parse_tuned(tuned),
        precision=None if precision is None else precisions[0],
    )  # fmt: skip
    check_seconds("duration", duration)
    check_seconds("warmup", warmup)
    batches = integers("batch", batch) if batch is not None else []
    counts = [options.get("contexts", 2)]
    if contexts is not None:
        counts = integers("contexts", contexts, max_=1024)
    threads = integers("concurrency", concurrency, max_=1024)
    if plot is not None and plot.suffix.lower() in _PLOTS:
        sweeps.check_swept(batches, threads, counts)
    _options.check_plot(plot, _PLOTS, force)
    sweeps.check(models, batches, precisions, options)
    cases: list[Case] = []
    failure: BaseException | None = None
    try:
        for case in sweeps.sweep(
            models, precisions=precisions, batches=batches, contexts=counts, concurrency=threads,
            options=options, budget=Budget(runs, duration, warmup), seed=seed,
        ):  # fmt: skip
            cases.append(case)
    except (Error, OSError, MemoryError, KeyboardInterrupt) as error:
        if not cases:
            raise
        failure = error
    if as_json:
        _options.say(_options.json_text([case.to_json() for case in cases]))
    else:
        _options.say("\n".join(sweeps.table(cases, output_width())))
    if isinstance(failure, KeyboardInterrupt):
        raise typer.Exit(130)
    if failure is not None:
        raise failure
    if plot is not None:
        from fasttrt._bench import plots

        lines, axis = sweeps.plotted(cases)
        plots.draw(plot, lines, "fasttrt bench", axis, "median wall time of infer(), us", force)
