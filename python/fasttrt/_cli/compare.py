"""``fasttrt compare``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from fasttrt._cli import options as _options
from fasttrt._cli.messages import in_options
from fasttrt._cli.values import check_random_inputs, engine_options, with_build_options
from fasttrt._cli.values import ranges as parse_ranges
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._common.tables import output_width
from fasttrt._graph.transforms import changes_of
from fasttrt._plan.plan_file import is_plan_file
from fasttrt._terminal import message


def compare(
    model: _options.Model,
    inputs: _options.Samples = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another ONNX model as the reference.", exists=True, dir_okay=False,
            metavar="FILE", show_default="MODEL itself",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="A plan to check instead of a new build.", exists=True, dir_okay=False,
            metavar="FILE",
        ),
    ] = None,
    shapes: _options.Shapes = None,
    min_shapes: _options.MinShapes = None,
    opt_shapes: _options.OptShapes = None,
    max_shapes: _options.MaxShapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range", metavar="INPUT=MIN:MAX", rich_help_panel=_options.INPUTS,
            help="Draw an input's random values from MIN up to, but not including, MAX; "
            "repeatable.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="How many random samples to run.", min=1, metavar="N", show_default="4",
            rich_help_panel=_options.INPUTS,
        ),
    ] = None,
    seed: _options.RandomSeed = None,
    atol: _options.MaxAbsError = None,
    rtol: _options.MaxRelError = None,
    cosine: _options.MinCosine = None,
    top1: _options.MinTop1 = None,
    precision: _options.Precision = None,
    tf32: Annotated[
        bool,
        typer.Option(
            help="Whether float32 may be rounded to TF32.", rich_help_panel=_options.ENGINE
        ),
    ] = True,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    plugins: _options.Plugins = None,
    bisect: Annotated[
        bool, typer.Option(help="If an output fails, find the first node that differs.")
    ] = True,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:  # fmt: skip
    """Compare an engine's outputs with ONNX Runtime's.

    By default, the limits follow from the engine's precision and the depth of the model. If you set
    any limit, only those that you set apply.

    Exits with 0 if all outputs pass, 1 if one fails, 2 if they could not be compared.
    """
    import fasttrt

    _options.show_log(verbose)
    limits = {"atol": atol, "rtol": rtol, "cosine": cosine, "top1": top1}
    thresholds = {limit: value for limit, value in limits.items() if value is not None}
    try:
        check_random_inputs(inputs, seed=seed, samples=samples)
        options = engine_options(
            config=config, device=device, library=library, precision=precision, plugins=plugins,
            shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes),
            freeze=freeze, dims=dims,
        )  # fmt: skip
        with ExitStack() as stack:
            if plan is not None:
                build_only_options = {
                    "precision": precision, "shapes": shapes, "minShapes": min_shapes,
                    "optShapes": opt_shapes, "maxShapes": max_shapes, "no-tf32": not tf32,
                }  # fmt: skip
                for option in (option for option, value in build_only_options.items() if value):
                    raise fasttrt.InputError(f"--{option}: not with --plan, which is already built")
                if not is_plan_file(plan):
                    raise fasttrt.InputError(f"--plan: expected a plan, got an ONNX model, {plan}")
                changes = {change: options.pop(change) for change in changes_of(options)}
                engine = stack.enter_context(fasttrt.Engine(plan, **options))
                options = {"engine": engine, **changes}
            else:
                options["advise"] = True
                if not tf32:
                    options = with_build_options(options, tf32=False)
            comparison = fasttrt.compare(
                model,
                inputs,
                against=against,
                samples=4 if samples is None else samples,
                seed=seed,
                ranges=parse_ranges(ranges),
                thresholds=thresholds or None,
                bisect=bisect,
                **options,
            )
    except (fasttrt.Error, OSError) as error:
        _options.say(f"error: {message(in_options(str(error)))}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        _options.say(_options.json_text(comparison.to_json()))
    elif (width := output_width()) is not None:
        from rich.console import Console

        Console(width=width).print(comparison)
    else:
        _options.say(str(comparison))
    raise typer.Exit(0 if comparison.passed else 1)
