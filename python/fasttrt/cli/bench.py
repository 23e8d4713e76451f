"""``fasttrt bench``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fasttrt._bench.cases import Case


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
    shapes: Annotated[
        list[str] | None,
        typer.Option(help="input=1x3x224x224, or input=MIN:OPT:MAX; once for each input."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A fasttrt.toml with other options.", exists=True, dir_okay=False),
    ] = None,
    device: Annotated[str | None, typer.Option(help='"auto", "cuda", "cuda:N", "cpu".')] = None,
    library: Annotated[str | None, typer.Option(help="Which TensorRT, see library().")] = None,
    runs: Annotated[int, typer.Option(help="Timed runs of a case, at most.", min=3)] = 1000,
    duration: Annotated[float, typer.Option(help="Seconds of a series, at most.", min=0.01)] = 3.0,
    warmup: Annotated[float, typer.Option(help="Seconds before it.", min=0)] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the inputs' random values.", min=0)] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw what was swept: a .png, .svg or .pdf.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure throughput and latency in trtexec's terms, and the wall time of infer().

    H2D Latency, GPU Compute Time and D2H Latency are between GPU events; Latency is their sum;
    Enqueue Time is the host's, to queue or launch; Throughput is queries / GPU time of all.
    """
    from fasttrt._bench import sweeps
    from fasttrt._bench.cases import Effort
    from fasttrt._bench.opening import engine_options, integers

    options = engine_options(config, device, library, shapes)
    cases = list(
        sweeps.sweep(
            models,
            precisions=precision.split(",") if precision else [None],
            batches=integers("batch", batch) if batch else [],
            contexts=integers("contexts", contexts) if contexts else [options.get("contexts", 2)],
            concurrency=integers("concurrency", concurrency),
            options=options,
            effort=Effort(runs, duration, warmup),
            seed=seed,
        )
    )
    if as_json:
        typer.echo(json.dumps([case.to_json() for case in cases], indent=2))
    else:
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console = Console(width=150)
        console.print(sweeps.table(cases))
        for line in sweeps.remarks(cases):
            typer.echo(line)
    if plot is not None:
        _draw(plot, cases)


def _draw(path: Path, cases: "list[Case]") -> None:
    from fasttrt._bench import plots, sweeps
    from fasttrt.errors import Error

    lines, axis = sweeps.plotted(cases)
    try:
        plots.draw(path, lines, "fasttrt bench", axis, "median wall time of infer(), us")
    except ImportError:
        raise Error("--plot: expected matplotlib, which is not installed") from None
