"""``fasttrt inspect``: the content of an ONNX model or a plan."""

import json
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt._cli import options as _options
from fasttrt._cli.values import engine_options
from fasttrt._graph.control_flow import control_flow
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._graph.traversal import all_nodes
from fasttrt._library.device import default_device
from fasttrt._library.inspector import layers_of
from fasttrt._plan.plan_file import Plan, is_plan_file
from fasttrt._terminal import printable
from fasttrt.errors import InputError, LibraryNotFoundError, ParseError, UnsupportedLibraryError

_PATIENCE = 300.0
"""The time limit for TensorRT's parser, in seconds."""


def inspect(
    file: _options.ModelOrPlan,
    parse: Annotated[bool, typer.Option(help="Let TensorRT parse the model.")] = True,
    layers: Annotated[
        bool, typer.Option("--layers", help="Load a plan and list its layers; needs a GPU.")
    ] = False,
    freeze: _options.Freeze = None,
    dims: _options.Dims = None,
    precision: _options.Precision = None,
    library: _options.Library = None,
    plugins: _options.Plugins = None,
    verbose: _options.Verbose = False,
    as_json: _options.AsJson = False,
) -> None:
    """Show the content of an ONNX model or a plan.

    For a model, also show whether TensorRT can parse it (with --freeze, --dims and --precision
    applied) and which nodes it rejects.
    """
    _options.show_log(verbose)
    options = engine_options(
        library=library, freeze=freeze, dims=dims, precision=precision, plugins=plugins
    )
    if is_plan_file(file):
        for option in options.keys() & {"freeze", "dims", "precision"}:
            raise InputError(f"--{option}: expected an ONNX model, got a plan, {file}")
        found = describe_plan(Plan.load(file))
        if layers:
            found["layers"] = _layers(file)
    else:
        if layers:
            raise InputError(f"--layers: expected a plan, got an ONNX model, {file}")
        model = transformed(OnnxModel(file), options.get("freeze"), options.get("dims"))
        found = describe_model(model)
        if parse:
            found["parser"] = _parse_with_tensorrt(model, options)
    if as_json:
        _options.say(_options.json_text(found))
        return
    for line in _lines(found):
        _options.say(printable(line))


def describe_model(model: OnnxModel) -> dict[str, Any]:
    """Describe a model as JSON values."""
    proto = model.proto
    weights = list(proto.graph.initializer)
    return {
        "kind": "ONNX model",
        "sha256": model.sha256(),
        "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        "ir_version": proto.ir_version,
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        "inputs": [_declared(tensor) for tensor in model.inputs],
        "outputs": [_declared(tensor) for tensor in model.outputs],
        "parameters": sum(prod(weight.dims) for weight in weights),
        "operators": dict(Counter(node.op_type for node in all_nodes(proto)).most_common()),
        "quantized": model.is_quantized,
        "control_flow": control_flow(model),
    }


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Describe a plan as JSON values."""
    return {"kind": "plan", "bytes": len(plan.data), "sha256": plan.digest} | plan.metadata


def _declared(tensor: Any) -> dict[str, Any]:
    shape = None if tensor.shape is None else [size or "?" for size in tensor.shape]
    return {"name": tensor.name, "dtype": str(tensor.dtype), "shape": shape}


def _parse_with_tensorrt(model: OnnxModel, options: dict[str, Any]) -> dict[str, Any]:
    """Parse a model with TensorRT, and describe the result as JSON values.

    Raises:
        LibraryNotFoundError, UnsupportedLibraryError: the requested library cannot be used.
    """
    from fasttrt._builder.isolated_job import source_of
    from fasttrt._builder.isolation import run_isolated
    from fasttrt._library.discovery import find

    device = default_device()
    library, plugins = options.get("library"), options.get("plugins", ())
    try:
        found = find(library or "auto", device)
        arguments = {
            "source": source_of(model), "library": found.path, "device": device,
            "plugins": plugins, "precision": options.get("precision"),
        }  # fmt: skip
        result, _ = run_isolated("parse", arguments, timeout=_PATIENCE)
    except ParseError as error:
        refused = [issue._asdict() for issue in error.issues]
        return {"library": str(found), "parses": False, "refused": refused}
    except (LibraryNotFoundError, UnsupportedLibraryError) as error:
        if library is not None:
            raise
        reason = str(error).splitlines()[0].removesuffix(" Tried:")
        return {"library": None, "parses": None, "problem": reason}
    return {"library": str(found), "parses": True, "layers": result["layers"]}


def _layers(file: Path) -> list[Any] | None:
    """Return a plan's layers as TensorRT's inspector reports them; None if it does not."""
    import fasttrt
    from fasttrt._engine.engine import backend_of

    with fasttrt.Engine(file, device="cuda") as engine:
        backend: Any = backend_of(engine)
        return layers_of(backend.core.layer_information())


def _lines(found: dict[str, Any]) -> Iterable[str]:
    """Format each fact as a line; parts are indented below their name."""
    for name, value in found.items():
        title = name.replace("_", " ")
        if isinstance(value, dict) and value:
            yield f"{title}:"
            yield from (f"  {key}: {_short(item)}" for key, item in value.items())
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{title}:"
            yield from (f"  {_item(item)}" for item in value)
        else:
            yield f"{title}: {_short(value)}"


def _item(item: dict[str, Any]) -> str:
    name = item.get("name", item.get("Name", ""))
    rest = {key: value for key, value in item.items() if key not in ("name", "Name")}
    return f"{name}  " + ", ".join(f"{key} {_short(value)}" for key, value in rest.items())


def _short(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, (int, str)) for part in value):
        return "[" + ", ".join(map(str, value)) + "]"
    return json.dumps(value)
