"""Refitting: replacing the weights of a loaded engine."""

from collections.abc import Mapping
from typing import Any

from fasttrt import _core
from fasttrt._graph.fingerprint import ModelFingerprint, check_changes, check_same
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import retransformed
from fasttrt._library.tensorrt_log import forwarded
from fasttrt._parser.model_source import feed_model
from fasttrt._parser.pipeline import Target
from fasttrt._precision.typed_parse import prepare_as_built
from fasttrt.errors import EngineLoadError, InputError


def refit(
    core: _core.Engine, metadata: dict[str, Any], model: OnnxModel, library: _core.Library
) -> None:
    """Replace an engine's weights with a model's, and update the metadata on their origin.

    Raises:
        InputError: the model's structure differs from that in ``metadata``, or TensorRT reports a
            mismatch; nothing has changed.
        Error: the engine was not built to be refitted, or TensorRT failed midway.
        UnsupportedLibraryError: the library cannot refit engines.
    """
    model, new = as_built(model, metadata, library)
    with forwarded():
        refittable = core.refittable_weights()
        if new is not None:
            check_changes(metadata["structure"], new, model, set(refittable))
        try:
            feed_model(model, core.refit_file, core.refit)
        except InputError as error:
            raise InputError(f"refit: {error}{_unknown(refittable, model)}") from None
    _record(metadata, model)


def as_built(
    model: OnnxModel, metadata: Mapping[str, Any], library: _core.Library
) -> tuple[OnnxModel, ModelFingerprint | None]:
    """Apply the changes of the engine's build to another model, see `fasttrt.build`.

    Returns:
        The model, and its structure, which equals the engine's; None if the plan has none.

    Raises:
        InputError: the model lacks inputs or dimensions that the build changed, or its structure
            differs; the message says if weights do not suit the engine's precision.
    """
    wide: dict[str, str] = {}
    if "changes" in metadata:  # otherwise a plan of another tool
        if not model.is_changed:
            model = retransformed(model, metadata.get("arguments", {}))
        target = Target(
            library,
            has_plugins="plugins" in metadata,
            propagate_nan=metadata.get("config", {}).get("nan") == "propagate",
        )
        model, wide = prepare_as_built(model, metadata, target)
    if "structure" not in metadata:
        return model, None
    try:
        return model, check_same(metadata["structure"], model)
    except InputError as error:
        raise InputError(f"{error}{_too_wide(wide, metadata)}") from None


def set_weights(
    options: _core.EngineOptions,
    metadata: dict[str, Any],
    model: OnnxModel | None,
    library: _core.Library,
) -> tuple[OnnxModel, ModelFingerprint | None] | None:
    """Pass a model's weights to an engine that is about to be loaded.

    Returns:
        For `check_weights_set`: the model as the build would have changed it, and its structure.

    Raises:
        InputError: the model's structure differs from that in ``metadata``.
        EngineLoadError: the plan has no weights and there is no model.
    """
    if model is None:
        if is_stripped(metadata):
            raise EngineLoadError(
                "the plan was built without weights (strip_weights=True): pass the ONNX model "
                'that has them, as in Engine(plan, weights="m.onnx")'
            )
        return None
    model, new = as_built(model, metadata, library)
    feed_model(model, options.set_weights_file, options.set_weights)
    return model, new


def check_weights_set(
    core: _core.Engine, metadata: dict[str, Any], model: OnnxModel, new: ModelFingerprint | None
) -> None:
    """Check that the engine has taken all of a model's weights, and update the metadata.

    Raises:
        InputError: some are part of the plan, with different values.
    """
    if new is not None:
        check_changes(metadata["structure"], new, model, set(core.refittable_weights()))
    _record(metadata, model)


def _record(metadata: dict[str, Any], model: OnnxModel) -> None:
    """Record the model that the weights come from."""
    digest = model.original.sha256()
    if metadata.get("model_sha256") != digest:
        metadata.pop("verification", None)  # it concerned the previous weights
    metadata["model_sha256"] = digest


def is_stripped(metadata: dict[str, Any]) -> bool:
    """Return whether a plan was built without weights."""
    return bool(metadata.get("config", {}).get("strip_weights"))


def _too_wide(nodes: Mapping[str, str], metadata: Mapping[str, Any]) -> str:
    """Say why nodes that the engine computes in 16 bits would have to stay in float32."""
    if not nodes:
        return ""
    lines = [f"\n  {name} ({why})" for name, why in nodes.items()]
    precision = metadata["config"]["precision"]
    return (
        f'\nThe engine was built with precision="{precision}"; with these weights, nodes that it '
        f"computes in it have to stay in float32:{''.join(lines[:20])}"
    )


def _unknown(refittable: list[str], model: OnnxModel) -> str:
    """List the weights of the engine whose names the model does not have."""
    graph = model.skeleton.graph
    names = {tensor.name for tensor in graph.initializer}
    names |= {name for node in graph.node for name in node.output}
    missing = [name for name in refittable if name not in names]
    return f"\nThe model has no tensors named: {', '.join(missing[:20])}" if missing else ""
