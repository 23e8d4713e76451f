"""``fasttrt profile``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt._cli import options as _options
from fasttrt._cli.values import engine_options, with_build_options
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._common.file_kinds import TRACE
from fasttrt._common.output_file import Output
from fasttrt._common.tables import output_width


def profile(
    model: _options.ModelOrPlan,
    batch: Annotated[
        int | None,
        typer.Option(
            help="The batch size, for inputs whose first dimension is dynamic.", min=1,
            metavar="N", show_default="the one built for",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(help="How many runs to profile.", min=1, metavar="N")
    ] = 50,
    top: Annotated[
        int,
        typer.Option(
            help="The maximum number of rows of the table.", min=1, metavar="N",
            rich_help_panel=_options.OUTPUT,
        ),
    ] = 30,
    seed: _options.Seed = 0,
    shapes: _options.Shapes = None,
    min_shapes: _options.MinShapes = None,
    opt_shapes: _options.OptShapes = None,
    max_shapes: _options.MaxShapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    precision: _options.Precision = None,
    config: _options.Config = None,
    device: Annotated[
        str,
        typer.Option(help="cuda or cuda:N.", metavar="DEVICE", rich_help_panel=_options.ENGINE),
    ] = "cuda",
    library: _options.Library = None,
    plugins: _options.Plugins = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw a bar chart: .png, .svg, .pdf or .html.", metavar="FILE",
            rich_help_panel=_options.OUTPUT,
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Write a trace for ui.perfetto.dev or chrome://tracing.", metavar="FILE",
            rich_help_panel=_options.OUTPUT,
        ),
    ] = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:  # fmt: skip
    """Show the GPU time of each layer and its ONNX nodes.

    Times come from TensorRT's profiler, which synchronizes between layers and uses no CUDA graph,
    so their sum exceeds the time of a run. A plan contains the names of its layers' nodes only if
    it was built with --profilingVerbosity=detailed.
    """
    import fasttrt
    from fasttrt._bench import bars
    from fasttrt._bench import layer_profile as layers
    from fasttrt._bench.inputs import draw, onnx_model, shapes_for
    from fasttrt._bench.measurement import to_engine_dtypes
    from fasttrt._engine.engine import backend_of

    if device != "cuda" and not device.removeprefix("cuda:").isdigit():
        raise fasttrt.InputError(
            f"--device: expected cuda or cuda:N, as TensorRT times the layers, got {device!r}"
        )
    _options.show_log(verbose)
    _options.check_plot(plot, (".png", ".svg", ".pdf", ".html", ".htm"), force)
    if trace is not None:
        Output(trace, TRACE, force=force).check("--trace")
    options = engine_options(
        config=config, device=device, library=library, precision=precision, plugins=plugins,
        shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes), freeze=freeze, dims=dims,
    )  # fmt: skip
    source = onnx_model(model, options)
    if source is not None:
        options = with_build_options(options, profiling_verbosity="detailed")
        if batch is not None and "shapes" not in options:
            options["shapes"] = shapes_for(source, [batch])
    with fasttrt.Engine(model, **options | {"contexts": 1, "advise": True}) as engine:
        arrays = to_engine_dtypes(engine, draw(engine, source, batch, seed, count=1)[0])
        backend: Any = backend_of(engine)
        core = backend.core
        core.profile(list(arrays), 3)
        profiled = layers.layers(core.profile(list(arrays), runs), core.layer_information())
    if as_json:
        _options.say(_options.json_text(layers.to_json(profiled)))
    else:
        _options.say("\n".join(layers.table(profiled, top, output_width())))
    if trace is not None:
        with Output(trace, TRACE, force=force).open() as stream:
            stream.write(json.dumps(layers.trace(profiled)).encode())
    if plot is not None:
        bars.draw(plot, profiled, f"{model.name}: time by layer", force)
