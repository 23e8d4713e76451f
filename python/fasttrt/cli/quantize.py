"""``fasttrt quantize``: post-training quantization to int8 from the command line."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from fasttrt._calibration import METHODS, Method
from fasttrt._file_kinds import MODEL
from fasttrt._files import Output
from fasttrt._qdq import OPERATORS
from fasttrt.cli import _options


def quantize(
    model: Annotated[
        Path, typer.Argument(help="The float32 ONNX model.", exists=True, dir_okay=False)
    ],
    data: Annotated[
        Path,
        typer.Argument(
            help="A folder of .npz files (arrays by input name) or .npy files, or one file.",
            exists=True,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it. Default: MODEL.int8.onnx"),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Samples to measure the loss on. Default: every fifth of DATA.",
            exists=True,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help=f"How ranges are found: {', '.join(METHODS)}.")
    ] = "minmax",
    percentile: Annotated[
        float, typer.Option(help="The share of values kept by --method percentile, in percent.")
    ] = 99.99,
    operators: Annotated[
        list[str] | None,
        typer.Option(
            "--operator", help=f"Quantize only these of {', '.join(OPERATORS)}; may be repeated."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="A node, by name, or an operator to leave in float32; may be repeated."),
    ] = None,
    library: Annotated[
        str,
        typer.Option(
            help='The TensorRT that has to take it: "auto", "rtx", "tensorrt", a path, or "none".'
        ),
    ] = "auto",
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Quantize a model to int8 from real data, and report the loss by output."""
    from fasttrt.quantizing import quantize as run

    _options.show_log(verbose)
    output = output or model.with_name(f"{model.stem}.int8.onnx")
    Output(output, MODEL, [model], force).check("--output")
    result = run(
        model,
        data,
        output=output,
        force=force,
        validation=validation,
        method=cast(Method, method),
        percentile=percentile,
        operators=tuple(operators or OPERATORS),
        exclude=tuple(exclude or ()),
        library=None if library == "none" else library,
    )
    if as_json:
        report: dict[str, Any] = {**result.report.to_json(), "path": str(result.path)}
        _options.say(_options.json_text(report))
    else:
        _options.say(f"{result.report}\nwritten: {result.path}")
