"""``fasttrt profile``."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fasttrt._file_kinds import TRACE
from fasttrt._files import Output
from fasttrt._tables import output_width
from fasttrt.cli import _options


def profile(
    model: Annotated[
        Path, typer.Argument(help="An ONNX model or a plan.", exists=True, dir_okay=False)
    ],
    precision: _options.Precision = None,
    batch: Annotated[
        int | None, typer.Option(help="Of inputs whose first extent is free.", min=1)
    ] = None,
    shapes: _options.Shapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    config: _options.Config = None,
    device: Annotated[str, typer.Option(help='"cuda" or "cuda:N".')] = "cuda",
    library: _options.Library = None,
    runs: Annotated[int, typer.Option(help="How many are profiled.", min=1)] = 50,
    top: Annotated[int, typer.Option(help="Rows of the table.", min=1)] = 30,
    seed: _options.Seed = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw a bar chart: .png, .svg, .pdf or .html.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace for ui.perfetto.dev or chrome://tracing.")
    ] = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Show the time of each layer, by TensorRT's profiler, with the ONNX nodes that are in it.

    Runs are made without CUDA graphs, and TensorRT waits between layers, so that their sum is more
    than a run takes. A plan tells its nodes if it was built with profiling_verbosity="detailed".
    """
    import fasttrt
    from fasttrt._bench import bars, layers
    from fasttrt._bench.cases import as_the_engine_computes
    from fasttrt._bench.inputs import draw, onnx_model, shapes_for
    from fasttrt._bench.opening import engine_options

    if device != "cuda" and not device.removeprefix("cuda:").isdigit():
        raise fasttrt.InputError(
            f'--device: expected "cuda" or "cuda:N", as TensorRT times the layers, got {device!r}'
        )
    _options.show_log(verbose)
    _options.check_plot(plot, (".png", ".svg", ".pdf", ".html", ".htm"), force)
    if trace is not None:
        Output(trace, TRACE, force=force).check("--trace")
    options = engine_options(config, device, library, shapes, freeze, dims)
    source = onnx_model(model, options)
    if precision is not None:
        options["precision"] = precision
    if source is not None:
        build = options.get("config") or fasttrt.BuildConfig()
        options["config"] = replace(build, profiling_verbosity="detailed")
        if batch is not None and "shapes" not in options:
            options["shapes"] = shapes_for(source, [batch])
    with fasttrt.Engine(model, **options | {"contexts": 1}) as engine:
        arrays = as_the_engine_computes(engine, draw(engine, source, batch, seed, count=1)[0])
        core = engine._backend.core  # type: ignore[attr-defined]
        core.profile(list(arrays), 3)
        found = layers.layers(core.profile(list(arrays), runs), core.layer_information())
    if as_json:
        _options.say(_options.json_text(layers.to_json(found)))
    else:
        _options.say("\n".join(layers.table(found, top, output_width())))
    if trace is not None:
        with Output(trace, TRACE, force=force).open() as stream:
            stream.write(json.dumps(layers.trace(found)).encode())
    if plot is not None:
        bars.draw(plot, found, f"{model.name}: time by layer", force)
