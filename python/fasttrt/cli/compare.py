"""``fasttrt compare``."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt._bench.opening import by_name, changes_of, engine_options
from fasttrt._tables import output_width
from fasttrt._terminal import message
from fasttrt.cli import _options

_NUMBER = "a number; with it, all other limits are yours too"


def compare(
    model: Annotated[Path, typer.Argument(help="An ONNX model.", exists=True, dir_okay=False)],
    inputs: _options.Samples = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another ONNX model as the reference.", exists=True, dir_okay=False),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="A plan to judge instead of a new build.", exists=True, dir_okay=False),
    ] = None,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    shapes: _options.Shapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
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
    precision: _options.Precision = None,
    tf32: Annotated[bool, typer.Option(help="Whether float32 may be rounded to TF32.")] = True,
    bisect: Annotated[bool, typer.Option(help="Look for the first node that differs.")] = True,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Hold an engine's answers against ONNX Runtime's.

    Exits with 0 if all outputs pass, 1 if one does not, 2 if they could not be compared.
    """
    import fasttrt

    _options.show_log(verbose)
    given = {"atol": atol, "rtol": rtol, "cosine": cosine, "top1": top1}
    thresholds = {name: value for name, value in given.items() if value is not None}
    try:
        options = engine_options(config, device, library, shapes, freeze, dims)
        with ExitStack() as stack:
            if plan is not None:
                for_builds = {"precision": precision, "shapes": shapes, "no-tf32": not tf32}
                for name in (name for name, value in for_builds.items() if value):
                    raise fasttrt.InputError(f"--{name}: not with --plan, which is built already")
                changes = {name: options.pop(name) for name in changes_of(options)}
                engine = stack.enter_context(fasttrt.Engine(plan, **options))
                options = {"engine": engine, **changes}
            else:
                wanted: dict[str, Any] = {} if tf32 else {"tf32": False}
                if precision is not None:
                    wanted["precision"] = precision
                    options.pop("precision", None)  # the file's
                build = options.get("config") or fasttrt.BuildConfig()
                options["config"] = replace(build, **wanted)
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
        _options.say(f"error: {message(str(error))}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        _options.say(_options.json_text(found.to_json()))
    elif (width := output_width()) is not None:
        from rich.console import Console

        Console(width=width).print(found)
    else:
        _options.say(str(found))
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
