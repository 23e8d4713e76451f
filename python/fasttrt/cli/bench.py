"""``fasttrt bench``."""

from pathlib import Path
from typing import Annotated

import typer

from fasttrt._tables import output_width
from fasttrt.cli import _options

_PLOTS = (".png", ".svg", ".pdf")


def bench(
    models: Annotated[
        list[Path],
        typer.Argument(help="ONNX models or plans, side by side.", exists=True, dir_okay=False),
    ],
    precision: Annotated[
        str | None, typer.Option(help="fp32, tf32, fp16, bf16, or several: fp32,fp16.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Of inputs whose first extent is free, as in 1,8,32.")
    ] = None,
    contexts: Annotated[
        str | None, typer.Option(help="Runs under way at once, as in 1,2,4. [default: 2]")
    ] = None,
    concurrency: Annotated[
        str, typer.Option(help="Threads, each with one call after the other, as in 1,8.")
    ] = "1",
    shapes: _options.Shapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    runs: Annotated[int, typer.Option(help="Timed runs of a case, at most.", min=3)] = 1000,
    duration: Annotated[float, typer.Option(help="Seconds of a series, at most.", min=0.01)] = 3.0,
    warmup: Annotated[float, typer.Option(help="Seconds before it.", min=0)] = 0.2,
    seed: _options.Seed = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw what was swept: a .png, .svg or .pdf.")
    ] = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Measure throughput and latency in trtexec's terms, and the wall time of infer().

    H2D Latency, GPU Compute Time and D2H Latency are between GPU events; Latency is their sum;
    Enqueue Time is the host's, to queue or launch; Throughput is queries / GPU time of all.
    """
    from fasttrt._bench import sweeps
    from fasttrt._bench.cases import Effort
    from fasttrt._bench.opening import engine_options, integers

    _options.show_log(verbose)
    options = engine_options(config, device, library, shapes, freeze, dims)
    batches = integers("batch", batch) if batch else []
    counts = integers("contexts", contexts) if contexts else [options.get("contexts", 2)]
    threads = integers("concurrency", concurrency)
    if plot is not None and plot.suffix.lower() in _PLOTS:
        sweeps.check_swept(batches, threads, counts)
    _options.check_plot(plot, _PLOTS, force)
    cases = list(
        sweeps.sweep(
            models,
            precisions=precision.split(",") if precision else [None],
            batches=batches,
            contexts=counts,
            concurrency=threads,
            options=options,
            effort=Effort(runs, duration, warmup),
            seed=seed,
        )
    )
    if as_json:
        _options.say(_options.json_text([case.to_json() for case in cases]))
    else:
        _options.say("\n".join(sweeps.table(cases, output_width())))
    if plot is not None:
        from fasttrt._bench import plots

        lines, axis = sweeps.plotted(cases)
        plots.draw(plot, lines, "fasttrt bench", axis, "median wall time of infer(), us", force)
