"""The options with which a model's engine is opened: the server's, and those of its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._engine.options_file import load_config, parse_options
from fasttrt._graph.model import DeclaredTensor, OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._plan.plan_file import Plan, is_plan_file
from fasttrt._plan.profiles import parse_range
from fasttrt._runtime.batching import Batching
from fasttrt._serving.model_config import DynamicBatching, ModelConfig
from fasttrt._serving.served_tensor import complete
from fasttrt.errors import InputError

PARAMETERS = (
    "device", "precision", "tuned", "contexts", "specialization", "warmup", "cuda_graph", "wait",
    "max_queue", "weight_streaming_budget", "verify",
)  # fmt: skip
"""The options that a configuration may set: clients can send one, so none of them names a file."""
_TEXTS = ("device", "precision", "specialization", "wait")
_NO_LIMIT = 1024
"""The maximum batch size of models that ask for batching, but name no size."""


@dataclass(frozen=True)
class EngineDefaults:
    """What applies to models whose own files say nothing else.

    Attributes:
        options: options of `Engine`.
        max_batch_size: for models whose first dimensions are of any size, see `is_batchable`; they
            are then gathered to batches. 0: they are not.
        max_queue_delay_us: how long such a batch waits for more requests, in microseconds.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    max_batch_size: int = 32
    max_queue_delay_us: int = 0


def engine_options(
    file: Path, config: ModelConfig, options_file: Path | None, defaults: EngineDefaults, where: str
) -> dict[str, Any]:
    """Return the options of `Engine` for a model's file.

    A model's configuration has precedence over its ``fasttrt.toml``, and that over the defaults.

    Args:
        file: the model, or a plan.
        config: what is configured.
        options_file: a ``fasttrt.toml``, or None.
        defaults: the server's.
        where: where the configuration is from, for messages.

    Raises:
        InputError: an option is unknown or wrong.
    """
    own = {} if options_file is None else load_config(options_file)
    options = {**defaults.options, **own, **_parameters(config.parameters, where)}
    if config.instance_group is not None:
        group = config.instance_group
        options["contexts"] = group.count
        if group.kind == "KIND_CPU":
            options["device"] = "cpu"
        elif group.gpus:
            options["device"] = f"cuda:{','.join(map(str, group.gpus))}"
        elif group.kind == "KIND_GPU" and options.get("device", "auto") == "auto":
            options["device"] = "cuda"
    given = config.dynamic_batching
    if given is not None and given.max_queue_size:
        options["max_queue"] = given.max_queue_size
    size = config.max_batch_size
    if size is None and given is None and ("batching" in options or not defaults.max_batch_size):
        return options
    plan = Plan.load(file) if is_plan_file(file) else None
    model = None if plan is not None else _model(file, options)
    if model is not None:
        _check(model, config, where)  # before a build, which takes long
    if size is None:
        default = defaults.max_batch_size or _NO_LIMIT
        size = _model_batch_size(model, options, default) if model else _plan_batch_size(plan)
        given = given or DynamicBatching(max_queue_delay_us=defaults.max_queue_delay_us)
    if size >= 1:
        if given is not None:
            options["batching"] = _batching(size, given)
        if model is not None and "shapes" not in options:
            options["shapes"] = _shapes(model, config, size)
    return options


def _parameters(parameters: Mapping[str, str], where: str) -> dict[str, Any]:
    """Convert a configuration's parameters to options of `Engine`."""
    tables: dict[str, dict[str, Any]] = {"engine": {}, "shapes": {}}
    for name, text in parameters.items():
        table, _, tensor = name.partition(".")
        if table == "shapes" and tensor:
            tables["shapes"][tensor] = text
        elif name in PARAMETERS:
            tables["engine"][name] = text if name in _TEXTS else _value(text)
        else:
            raise InputError(
                f"{where}: parameters: {name!r} is not supported; expected one of "
                f"{', '.join(PARAMETERS)}, shapes.INPUT"
            )
    tables = {table: values for table, values in tables.items() if values}
    return parse_options(f"{where}: parameters", tables)


def _value(text: str) -> Any:
    """Return a number, a list or true and false as such, and everything else as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _batching(max_size: int, given: DynamicBatching) -> Batching:
    """Return how requests are gathered: to the preferred sizes, too."""
    sizes = {*Batching(max_size).batch_sizes, *given.preferred_batch_size}
    return Batching(max_size, given.max_queue_delay_us, tuple(sorted(sizes)))


def _model(file: Path, options: Mapping[str, Any]) -> OnnxModel:
    return transformed(
        OnnxModel(file, later=True), options.get("freeze"), options.get("dims")
    )  # fmt: skip


def _check(model: OnnxModel, config: ModelConfig, where: str) -> None:
    """Check a configuration against what the model declares; shape tensors are not known yet."""
    is_shape = {tensor.name for tensor in config.inputs if tensor.is_shape_tensor}
    if not is_shape and all(t.shape is not None for t in (*model.inputs, *model.outputs)):
        complete(config, _specs(model.inputs), _specs(model.outputs), where)


def _specs(tensors: Sequence[DeclaredTensor]) -> list[TensorSpec]:
    return [
        TensorSpec(t.name, t.dtype, tuple(-1 if isinstance(s, str) else s for s in t.shape or ()))
        for t in tensors
    ]


def _model_batch_size(model: OnnxModel, options: Mapping[str, Any], default: int) -> int:
    """Return the maximum batch size of a model that is not configured; 0: it has none."""
    if not all(t.shape and isinstance(t.shape[0], str) for t in (*model.inputs, *model.outputs)):
        return 0
    shapes: Any = options.get("shapes") or {}
    profiles = [shapes] if isinstance(shapes, Mapping) else shapes
    most: dict[str, int] = {}
    for name, value in (item for profile in profiles for item in profile.items()):
        _, _, max_ = parse_range(name, value)
        most[name] = max(most.get(name, 0), *max_[:1])
    return min([default, *most.values()]) if model.inputs else 0


def _plan_batch_size(plan: Plan | None) -> int:
    """Return the same for a plan; it is known if fasttrt built it."""
    metadata = {} if plan is None else plan.metadata
    tensors = [*metadata.get("inputs", ()), *metadata.get("outputs", ())]
    if not tensors or any(tensor.get("shape", ())[:1] != [-1] for tensor in tensors):
        return 0
    try:
        return max(int(r[2][0]) for profile in metadata["profiles"] for r in profile.values())
    except (KeyError, IndexError, TypeError, ValueError):  # others may have written it
        return 0


def _shapes(model: OnnxModel, config: ModelConfig, max_batch_size: int) -> dict[str, Any] | None:
    """Return the shapes that batches have; None if other dimensions vary, which a build derives."""
    dims = {tensor.name: tensor.dims for tensor in config.inputs}
    shapes = {}
    for tensor in model.inputs:
        shape = tensor.shape or ()
        rest = dims.get(tensor.name) or shape[1:]
        if not shape or not all(isinstance(size, int) and size >= 0 for size in rest):
            return None
        if isinstance(shape[0], str):
            shapes[tensor.name] = ((1, *rest), (max_batch_size, *rest), (max_batch_size, *rest))
    return shapes
