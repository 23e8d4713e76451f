"""``fasttrt run``: a model or a plan, run once or on a folder of inputs."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fasttrt._bench.inputs import onnx_model
from fasttrt._bench.opening import engine_options
from fasttrt._file_kinds import ARRAYS
from fasttrt._files import Output
from fasttrt._samples import given_samples
from fasttrt._saved_samples import saved_files
from fasttrt._terminal import printable
from fasttrt.cli import _options
from fasttrt.comparing.drawing import Drawing
from fasttrt.errors import InputError


def run(
    file: Annotated[
        Path, typer.Argument(help="An ONNX model or a plan.", exists=True, dir_okay=False)
    ],
    inputs: _options.Samples = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A .npz for the results; several samples get .0, .1, ..."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of random inputs; it is told.", min=0)] = None,
    shapes: _options.Shapes = None,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    config: _options.Config = None,
    device: _options.Device = None,
    library: _options.Library = None,
    force: _options.Force = False,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Run a model or a plan, and show or save its results."""
    import fasttrt

    if output is not None and output.suffix != ".npz":
        raise InputError(f"--output: expected a .npz, got {str(output)!r}")
    if inputs is not None and seed is not None:
        raise InputError("--seed: expected no --inputs with it, as it is of random ones")
    given = [file, *saved_files(inputs)]
    if output is not None:
        Output(output, ARRAYS, given, force).check("--output")
    _options.show_log(verbose)
    options = engine_options(config, device, library, shapes, freeze, dims)
    model = onnx_model(file, options)
    with fasttrt.Engine(file, **options) as engine:
        told: dict[str, Any] = {"device": engine.device}
        if inputs is None:
            told["seed"] = secrets.randbits(32) if seed is None else seed
            samples = [Drawing(engine.inputs, model, None, told["seed"]).sample()]
        else:
            samples = list(given_samples(inputs, engine.inputs))
        told["results"] = []
        for index, sample in enumerate(samples):
            results = engine.infer(sample)
            told["results"].append([_described(name, y) for name, y in results.items()])
            if output is not None:
                place = output if len(samples) == 1 else output.with_suffix(f".{index}.npz")
                with Output(place, ARRAYS, given, force).open() as stream:
                    np.savez(stream, **results)
    if as_json:
        _options.say(_options.json_text(told))
        return
    _options.say(f"device {told['device']}" + (f", seed {told['seed']}" if "seed" in told else ""))
    for index, described in enumerate(told["results"]):
        for each in described:
            facts = ", ".join(f"{key} {_short(v)}" for key, v in each.items() if key != "name")
            _options.say(printable(f"{index}  {each['name']}  {facts}"))


def _short(value: Any) -> str:
    """Floats in six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"[{', '.join(map(_short, value))}]" if isinstance(value, list) else str(value)


def _described(name: str, y: Any) -> dict[str, Any]:
    """A result in brief, as JSON has it; least, mean and most are of what is finite."""
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
            "least": float(finite.min()), "mean": float(finite.mean()), "most": float(finite.max()),
        }  # fmt: skip
    counts = {"nan": int(np.isnan(numbers).sum()), "inf": int(np.isinf(numbers).sum())}
    about |= {kind: count for kind, count in counts.items() if count}
    return about | {"first": [float(value) for value in numbers.ravel()[:4]]}
