"""``fasttrt run``: run a model or a plan, once or on saved samples."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fasttrt._accuracy.random_inputs import InputGenerator
from fasttrt._bench.inputs import onnx_model
from fasttrt._cli import options as _options
from fasttrt._cli.results import Results
from fasttrt._cli.values import check_random_inputs, engine_options
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._common.tables import Column, Row, name, number, output_width, render
from fasttrt._runtime.sample_files import saved_files, saved_samples

_NUMBERS = {
    "min": "min", "mean": "mean", "max": "max", "true": "true", "nan": "NaN", "inf": "Inf",
}  # fmt: skip
"""Column titles of an output's statistics."""


def run(
    file: _options.ModelOrPlan,
    inputs: _options.Samples = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", rich_help_panel=_options.OUTPUT,
            help="Save the results in a .npz, with arrays SAMPLE/OUTPUT if there are several "
            "samples, or in a folder (a name ending in /), with a .npz for each sample.",
        ),
    ] = None,
    seed: _options.RandomSeed = None,
    shapes: _options.Shapes = None,
    min_shapes: _options.MinShapes = None,
    opt_shapes: _options.OptShapes = None,
    max_shapes: _options.MaxShapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    precision: _options.Precision = None,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    plugins: _options.Plugins = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:  # fmt: skip
    """Run a model or a plan, and show or save its results."""
    import fasttrt

    _options.show_log(verbose)
    check_random_inputs(inputs, seed=seed)
    options = engine_options(
        config=config, device=device, library=library, precision=precision, plugins=plugins,
        shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes), freeze=freeze, dims=dims,
    )  # fmt: skip
    results = Results(output, [file, *saved_files(inputs, "--inputs")], force)
    model = onnx_model(file, options)
    report: dict[str, Any] = {}
    with fasttrt.Engine(file, **options, advise=True) as engine:
        report["device"] = engine.device
        if inputs is None:
            report["seed"] = secrets.randbits(32) if seed is None else seed
            samples = [
                ("random", InputGenerator(engine.inputs, model, None, report["seed"]).sample())
            ]
        else:
            samples = list(saved_samples(inputs, engine.inputs, "--inputs"))
        report["samples"] = [label for label, _ in samples]
        report["results"] = []
        names = [spec.name for spec in engine.outputs]
        with results.writing(report["samples"], names) as write:
            for label, sample in samples:
                outputs = engine.infer(sample)
                write(label, outputs)
                report["results"].append([_summarize(key, y) for key, y in outputs.items()])
    report["written"] = [str(path) for path in results.written]
    if as_json:
        _options.say(_options.json_text(report))
        return
    _options.say(
        f"device {report['device']}" + (f", seed {report['seed']}" if "seed" in report else "")
    )
    _options.say("\n".join(_table(report, output_width())))
    for path in results.written:
        _options.say(f"written: {path}")


def _table(report: dict[str, Any], width: int | None) -> list[str]:
    """Format a row for each output of each sample, followed by its first values."""
    described = [each for outputs in report["results"] for each in outputs]
    shown = {key: title for key, title in _NUMBERS.items() if any(key in e for e in described)}
    columns = [
        name("sample"), name("output"), Column("dtype"), Column("shape"),
        *map(number, shown.values()),
    ]  # fmt: skip
    rows: list[Row] = []
    for label, outputs in zip(report["samples"], report["results"], strict=True):
        for each in outputs:
            shape = "x".join(map(str, each["shape"])) or "scalar"
            numbers = (_short(each[key]) if key in each else "-" for key in shown)
            rows.append([label, each["name"], each["dtype"], shape, *numbers])
            if "first" in each:
                rows.append("  first values: " + ", ".join(map(_short, each["first"])))
    return render(columns, rows, width)


def _short(value: float) -> str:
    """Format floats with six digits, and integers in full."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _summarize(name: str, y: Any) -> dict[str, Any]:
    """Summarize a result as JSON values; min, mean and max ignore values that are not finite."""
    about: dict[str, Any] = {"name": name, "dtype": str(y.dtype), "shape": list(y.shape)}
    y = np.asarray(y)
    if y.size == 0 or y.dtype.kind in "OSU":
        return about
    if y.dtype == np.bool_:
        return about | {"true": int(y.sum())}
    numbers = y.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        about |= {
            "min": float(finite.min()), "mean": float(finite.mean()), "max": float(finite.max()),
        }  # fmt: skip
    counts = {"nan": int(np.isnan(numbers).sum()), "inf": int(np.isinf(numbers).sum())}
    about |= {kind: count for kind, count in counts.items() if count}
    return about | {"first": [float(value) for value in numbers.ravel()[:4]]}
