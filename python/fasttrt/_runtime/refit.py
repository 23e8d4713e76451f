"""Other weights for an engine that is loaded."""

from collections.abc import Mapping
from typing import Any

from fasttrt import _core
from fasttrt._graph.fingerprint import Structure, check_changes, check_same
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import retransformed
from fasttrt._library.tensorrt_log import forwarded
from fasttrt._parser.model_source import hand_over
from fasttrt._parser.other_forms import with_other_forms
from fasttrt._parser.pipeline import Target, finish, prepare
from fasttrt._precision.typed_parse import converted_as_built
from fasttrt.errors import EngineLoadError, InputError


def refit(
    core: _core.Engine, metadata: dict[str, Any], model: OnnxModel, library: _core.Library
) -> None:
    """Replace the weights of an engine by a model's, and its record of where they come from.

    Raises:
        InputError: the model has another structure than that in ``metadata``, or TensorRT says so;
            nothing has changed.
        Error: the engine was not built to be refitted, or TensorRT failed midway.
        UnsupportedLibraryError: the library cannot refit engines.
    """
    model, new = as_built(model, metadata, library)
    with forwarded():
        refittable = core.refittable_weights()
        if new is not None:
            check_changes(metadata["structure"], new, model, set(refittable))
        try:
            hand_over(model, core.refit_file, core.refit)
        except InputError as error:
            raise InputError(f"refit: {error}{_unknown(refittable, model)}") from None
    _record(metadata, model)


def as_built(
    model: OnnxModel, metadata: Mapping[str, Any], library: _core.Library
) -> tuple[OnnxModel, Structure | None]:
    """A model after the changes that the build has made to its own, see `fasttrt.build`.

    Returns:
        The model, and its structure, which is that of the build's; None if the plan tells none.

    Raises:
        InputError: the model has not the inputs or dimensions that were changed there, or another
            structure; says so if that is because weights do not fit the engine's precision.
    """
    wide: dict[str, str] = {}
    if "changes" in metadata:  # else a plan of another tool
        if not model.is_changed:
            model = retransformed(model, metadata.get("arguments", {}))
        target = Target(
            library,
            has_plugins="plugins" in metadata,
            propagate_nan=metadata.get("config", {}).get("nan") == "propagate",
        )
        rewritten = metadata.get("rewritten", ())
        prepared = with_other_forms(prepare(model, target), rewritten, target)
        model, wide = converted_as_built(prepared, metadata)
        model = finish(model, target)
    if "structure" not in metadata:
        return model, None
    try:
        return model, check_same(metadata["structure"], model)
    except InputError as error:
        raise InputError(f"{error}{_too_wide(wide, metadata)}") from None


def give_weights(
    options: _core.EngineOptions,
    metadata: dict[str, Any],
    model: OnnxModel | None,
    library: _core.Library,
) -> tuple[OnnxModel, Structure | None] | None:
    """Have an engine begin with a model's weights.

    Returns:
        For `took_weights`: the model as the build would have changed it, and its structure.

    Raises:
        InputError: the model has another structure than that in ``metadata``.
        EngineLoadError: the plan has no weights and there is no model.
    """
    if model is None:
        if is_stripped(metadata):
            raise EngineLoadError(
                "the plan was built without weights (strip_weights=True): give the ONNX model "
                'that has them, as in Engine(plan, weights="m.onnx")'
            )
        return None
    model, new = as_built(model, metadata, library)
    hand_over(model, options.set_weights_file, options.set_weights)
    return model, new


def took_weights(
    core: _core.Engine, metadata: dict[str, Any], model: OnnxModel, new: Structure | None
) -> None:
    """See that the engine could take all of a model's weights, and record them.

    Raises:
        InputError: some are part of the plan, with other values.
    """
    if new is not None:
        check_changes(metadata["structure"], new, model, set(core.refittable_weights()))
    _record(metadata, model)


def _record(metadata: dict[str, Any], model: OnnxModel) -> None:
    """Where the weights come from now."""
    digest = model.original.sha256()
    if metadata.get("model_sha256") != digest:
        metadata.pop("verification", None)  # was of the other weights
    metadata["model_sha256"] = digest


def is_stripped(metadata: dict[str, Any]) -> bool:
    """Whether a plan has no weights."""
    return bool(metadata.get("config", {}).get("strip_weights"))


def _too_wide(nodes: Mapping[str, str], metadata: Mapping[str, Any]) -> str:
    """Why nodes stay in float32 which the engine computes in 16 bits."""
    if not nodes:
        return ""
    lines = [f"\n  {name} ({why})" for name, why in nodes.items()]
    precision = metadata["config"]["precision"]
    return (
        f'\nThe engine was built with precision="{precision}"; with these weights nodes that it '
        f"computes so have to stay in float32:{''.join(lines[:20])}"
    )


def _unknown(refittable: list[str], model: OnnxModel) -> str:
    """Weights that the engine wants and the model has none of that name for."""
    graph = model.skeleton.graph
    names = {tensor.name for tensor in graph.initializer}
    names |= {name for node in graph.node for name in node.output}
    missing = [name for name in refittable if name not in names]
    return f"\nThe model has none of these names: {', '.join(missing[:20])}" if missing else ""
