"""``fasttrt quantize``: post-training quantization to int8 from the command line."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from fasttrt._calibration import METHODS, Method
from fasttrt._qdq import OPERATORS


def quantize(
    model: Annotated[Path, typer.Argument(help="The float32 ONNX model.")],
    data: Annotated[
        Path, typer.Argument(help="A folder of .npz files (arrays by input name) or .npy files.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it. Default: MODEL.int8.onnx"),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="A folder of samples to measure the loss on. Default: every fifth of DATA."
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Quantize a model to int8 from real data, and report the loss by output."""
    from fasttrt.quantizing import quantize as run

    result = run(
        model,
        data,
        output=output or model.with_name(f"{model.stem}.int8.onnx"),
        validation=validation,
        method=cast(Method, method),
        percentile=percentile,
        operators=tuple(operators or OPERATORS),
        exclude=tuple(exclude or ()),
        library=None if library == "none" else library,
    )
    if as_json:
        report: dict[str, Any] = {**result.report.to_json(), "path": str(result.path)}
        typer.echo(json.dumps(report, indent=2))
    else:
        typer.echo(f"{result.report}\nwritten: {result.path}")
