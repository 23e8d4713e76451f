"""``fasttrt run``: a model or a plan, run once or on a folder of inputs."""

import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fasttrt._bench.inputs import onnx_model
from fasttrt._bench.opening import engine_options
from fasttrt.comparing.drawing import Drawing
from fasttrt.comparing.samples import given_samples
from fasttrt.errors import InputError


def run(
    file: Annotated[
        Path, typer.Argument(help="An ONNX model or a plan.", exists=True, dir_okay=False)
    ],
    inputs: Annotated[
        Path | None,
        typer.Option(help="A .npz, a .npy or a folder of them; else random inputs.", exists=True),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A .npz for the results; several samples get .0, .1, ..."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of random inputs; it is told.", min=0)] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(help="input=1x3x224x224, or input=MIN:OPT:MAX; once for each input."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A fasttrt.toml with other options.", exists=True)
    ] = None,
    device: Annotated[str | None, typer.Option(help='"auto", "cuda", "cuda:N", "cpu".')] = None,
    library: Annotated[str | None, typer.Option(help="Which TensorRT, see library().")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Run a model or a plan, and show or save its results."""
    import fasttrt

    if output is not None and output.suffix != ".npz":
        raise InputError(f"--output: expected a .npz, got {str(output)!r}")
    model = onnx_model(file)
    with fasttrt.Engine(file, **engine_options(config, device, library, shapes)) as engine:
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
                np.savez(place, **results)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(f"device {told['device']}" + (f", seed {told['seed']}" if "seed" in told else ""))
    for index, described in enumerate(told["results"]):
        for each in described:
            facts = ", ".join(f"{key} {value}" for key, value in each.items() if key != "name")
            typer.echo(f"{index}  {each['name']}  {facts}")


def _described(name: str, y: Any) -> dict[str, Any]:
    """A result in brief, as JSON has it."""
    about: dict[str, Any] = {"name": name, "dtype": str(y.dtype), "shape": list(y.shape)}
    numbers = np.asarray(y).astype(np.float64) if y.dtype != np.bool_ else np.asarray(y)
    if numbers.size and y.dtype != np.bool_:
        about |= {
            "least": float(numbers.min()),
            "mean": float(numbers.mean()),
            "most": float(numbers.max()),
            "first": [float(value) for value in numbers.ravel()[:4]],
        }
    elif numbers.size:
        about["true"] = int(numbers.sum())
    return about
