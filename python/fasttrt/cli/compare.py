"""``fasttrt compare``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt._bench.opening import by_name

_NUMBER = "a number; with it, all other limits are yours too"


def compare(
    model: Annotated[Path, typer.Argument(help="An ONNX model.", exists=True, dir_okay=False)],
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npz, a .npy or a folder of them; else random inputs.", exists=True),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another ONNX model as the reference.", exists=True, dir_okay=False),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="A plan to judge instead of a new build.", exists=True, dir_okay=False),
    ] = None,
    device: Annotated[str, typer.Option(help='"auto", "cuda", "cuda:N" or "cpu".')] = "auto",
    library: Annotated[str, typer.Option(help="Which TensorRT, see fasttrt.library.")] = "auto",
    shapes: Annotated[
        list[str] | None,
        typer.Option(help="input=1x3x224x224, or input=MIN:OPT:MAX; once for each input."),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="input=LEAST:MOST of random values, MOST excluded."),
    ] = None,
    samples: Annotated[int, typer.Option(help="How many random inputs.", min=1)] = 4,
    seed: Annotated[int | None, typer.Option(help="Of random inputs.", min=0)] = None,
    atol: Annotated[float | None, typer.Option(help=f"Absolute: {_NUMBER}.", min=0)] = None,
    rtol: Annotated[float | None, typer.Option(help=f"Relative: {_NUMBER}.", min=0)] = None,
    cosine: Annotated[float | None, typer.Option(help="The least similarity.", max=1)] = None,
    top1: Annotated[float | None, typer.Option(help="The least agreement.", min=0, max=1)] = None,
    precision: Annotated[
        str | None,
        typer.Option(help='"fp32", "tf32", "fp16" or "bf16"; if not given, the model\'s types.'),
    ] = None,
    tf32: Annotated[bool, typer.Option(help="Whether float32 may be rounded to TF32.")] = True,
    bisect: Annotated[bool, typer.Option(help="Look for the first node that differs.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold an engine's answers against ONNX Runtime's.

    Exits with 0 if all outputs pass, 1 if one does not, 2 if they could not be compared.
    """
    import fasttrt

    given = {"atol": atol, "rtol": rtol, "cosine": cosine, "top1": top1}
    thresholds = {name: value for name, value in given.items() if value is not None}
    options: dict[str, Any] = {"device": device, "library": library}
    try:
        if plan is not None:
            options = {"engine": fasttrt.Engine(plan, **options)}
        else:
            wanted: Any = precision  # which BuildConfig checks
            options["config"] = fasttrt.BuildConfig(precision=wanted, tf32=None if tf32 else False)
            options["shapes"] = by_name("shapes", shapes)
        found = fasttrt.compare(
            model,
            inputs,
            against=against,
            samples=samples,
            seed=seed,
            ranges=_numbers(ranges),
            thresholds=thresholds or None,
            bisect=bisect,
            **options,
        )
    except (fasttrt.Error, OSError) as error:
        typer.echo(f"fasttrt compare: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        from rich.console import Console

        console = Console()
        if console.is_terminal:
            console.print(found)
        else:
            typer.echo(str(found))
    raise typer.Exit(0 if found.passed else 1)


def _numbers(given: list[str] | None) -> dict[str, tuple[float, float]] | None:
    from fasttrt import InputError

    ranges = {}
    for name, value in (by_name("range", given) or {}).items():
        try:
            least, most = map(float, value.split(":"))
        except ValueError:
            raise InputError(f"--range: expected input=LEAST:MOST, got {name}={value}") from None
        ranges[name] = (least, most)
    return ranges or None
