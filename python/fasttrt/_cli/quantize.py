"""``fasttrt quantize``: post-training quantization to int8 from the command line."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from fasttrt._cli import options as _options
from fasttrt._cli.values import engine_options, one_of
from fasttrt._common.output_file import Output
from fasttrt._graph.transforms import transformed
from fasttrt._quantization.calibration import METHODS, Method
from fasttrt._quantization.qdq import OPERATORS


def quantize(
    model: _options.Model,
    data: Annotated[
        Path,
        typer.Argument(
            help="Samples to calibrate with: a .npz (an array for each input, by name), a .npy, "
            "or a folder of them.",
            metavar="DATA", exists=True,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The model to write.", metavar="FILE",
            show_default="MODEL.int8.onnx", rich_help_panel=_options.OUTPUT,
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Samples to measure the loss on.", exists=True, metavar="PATH",
            show_default="every fifth of DATA",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help=f"How ranges are calibrated: {', '.join(METHODS)}.", metavar="METHOD"
        ),
    ] = "minmax",
    percentile: Annotated[
        float | None,
        typer.Option(
            help="With --method percentile: the share of values to keep, in percent.",
            min=50, max=100, metavar="X", show_default="99.99",
        ),
    ] = None,
    operators: Annotated[
        list[str] | None,
        typer.Option(
            "--operator", help=f"Quantize only these of {', '.join(OPERATORS)}; repeatable.",
            metavar="OP",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep a node (by name) or an operator in float32; repeatable.", metavar="NAME"
        ),
    ] = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    library: Annotated[
        str,
        typer.Option(
            help="The TensorRT that must support the result, or none.",
            metavar="LIBRARY", rich_help_panel=_options.ENGINE,
        ),
    ] = "auto",
    device: Annotated[
        str | None,
        typer.Option(
            help="The GPU that must be able to run it: cuda or cuda:N.", metavar="DEVICE",
            show_default="the first, if any", rich_help_panel=_options.ENGINE,
        ),
    ] = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:  # fmt: skip
    """Quantize a model to int8 with calibration data, and report the loss."""
    from fasttrt._graph.model import OnnxModel
    from fasttrt._quantization.quantize import QUANTIZED
    from fasttrt._quantization.quantize import quantize as run

    _options.show_log(verbose)
    output = output or model.with_name(f"{model.stem}.int8.onnx")
    Output(output, QUANTIZED, [model], force).check("--output")
    one_of("method", method, METHODS)
    for operator in operators or ():
        one_of("operator", operator, OPERATORS)
    options = engine_options(
        library=None if library == "none" else library, freeze=freeze, dims=dims
    )
    result = run(
        transformed(OnnxModel(model), options.get("freeze"), options.get("dims")),
        data,
        output=output,
        force=force,
        validation=validation,
        method=cast(Method, method),
        percentile=percentile,
        operators=tuple(operators or OPERATORS),
        exclude=tuple(exclude or ()),
        library=options.get("library"),
        device=device,
    )
    if as_json:
        report: dict[str, Any] = {**result.report.to_json(), "path": str(result.path)}
        _options.say(_options.json_text(report))
    else:
        _options.say(f"{result.report}\nwritten: {result.path}")
