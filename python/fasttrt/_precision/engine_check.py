"""Check that an engine computes in the requested precision, by TensorRT's inspector.

In the inspector's JSON, a layer's ``"Inputs"`` and ``"Outputs"`` have a ``"Format/Datatype"``
(``"Half"``, ``"Row major linear FP16 format"``) or a ``"Datatype"``. A layer without a readable
type, or one that contains many layers (``ForeignNode``), proves nothing.

If the graph was converted for a library that computes in the network's types (all but TensorRT 8),
these were checked before the build and are binding. TensorRT-RTX fuses nodes into a layer with
float32 inputs and outputs that computes in float16 inside, so if the inspector does not show the
type there, that is not a downgrade.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from fasttrt._common.log import logger
from fasttrt._library.inspector import layers_of
from fasttrt._plan.plan_file import Plan
from fasttrt._precision import DTYPES
from fasttrt.errors import BuildError, InputError

_TYPE_NAMES = {
    "float32": r"float|fp32|float32",
    "float16": r"half|fp16|float16",
    "bfloat16": r"bfloat16|bf16",
    "int8": r"int8",
    "uint8": r"uint8",
    "int32": r"int32",
    "int64": r"int64",
    "bool": r"bool",
    "float8": r"fp8|float8|e4m3|fp8e4m3",
    "int4": r"int4",
    "float4": r"fp4|float4|fp4e2m1",
}
_QUANTIZED = ("int8", "float8", "int4", "float4")
_WORD = re.compile(r"[A-Za-z]+[0-9A-Za-z]*")
_COMPUTE_NOTHING = ("cast", "constant", "nochange", "noop", "reformat", "shape", "shuffle")
"""Layers that compute nothing, by a part of their type's name."""
_HIDE_LAYERS = ("foreignnode", "myelin")
"""Layers that contain several others, by a part of their name or their type's name."""


class LayerTypes(NamedTuple):
    """The types of an engine's layers according to the inspector."""

    types: Counter[str]
    """The number of inputs and outputs of computing layers with each type, as ``"float16"``."""
    hidden: int
    """The number of layers whose types are unknown, or that contain several others."""


def check_plan(plan: Plan, precision: str | None) -> None:
    """Check that a plan was built for the requested precision, if both are known.

    Raises:
        InputError: it was built for another one; the message names both.
    """
    built = plan.metadata.get("config", {})
    if precision is not None and built.get("precision", precision) != precision:
        raise InputError(
            f"precision: expected {built['precision']!r}, with which the plan was built, or "
            f"None, got {precision!r}"
        )


def confirm(plan: Plan, inspect: Callable[[], str], precision: str | None) -> None:
    """Check that an engine computes in 16 bits, if requested.

    Args:
        plan: the engine's plan.
        inspect: returns the inspector's JSON.
        precision: the requested precision; None for the one that the plan was built for.

    Raises:
        BuildError: the types of all layers are known, none is a 16-bit one, and TensorRT chose
            them.
    """
    dtype = DTYPES.get(str(precision or plan.metadata.get("config", {}).get("precision")))
    if dtype is None:
        return
    types, hidden = layer_types(inspect())
    listed = ", ".join(f"{count} of {name}" for name, count in types.most_common()) or "of no type"
    if types[dtype]:
        logger.info("the engine computes in %s; its layers' tensors are %s", dtype, listed)
    elif "conversion" in plan.metadata and not _chose_types(plan):
        logger.info("the engine computes in %s within layers whose tensors are %s", dtype, listed)
    elif hidden or not types or any(types[name] for name in _QUANTIZED):
        logger.warning(
            "could not confirm that the engine computes in %s: its layers' tensors are %s, and the "
            "types of %d layers are unknown",
            dtype, listed, hidden,
        )  # fmt: skip
    else:
        error = BuildError(
            f"expected an engine that computes in {dtype}, got one without: its layers' tensors "
            f"are {listed}"
        )
        error.advice = _advice(plan)
        raise error


def _advice(plan: Plan) -> str:
    """Explain why a library that chooses types has chosen float32; empty for other libraries."""
    version = plan.metadata.get("library", {}).get("version")
    if not version or not _chose_types(plan):
        return ""
    halves = 'BuildConfig(precision="fp16", conversion="graph", convert_io=True)'
    also = (
        f"{halves} may change that, as inputs and outputs then need no conversion; so may larger "
        "shapes"
    )
    if plan.metadata.get("config", {}).get("convert_io"):
        also = "Larger shapes may change that"
    return (
        f'TensorRT {version} may, but need not, compute in float16 with precision="fp16": it takes '
        "what it measures as the fastest, here float32 for every layer, as is common for "
        f'small networks. precision="tf32" or "fp32" is the faster choice here. {also}'
    )


def _chose_types(plan: Plan) -> bool:
    """Return whether the library that built a plan could choose types other than the network's."""
    library = plan.metadata.get("library", {})
    is_rtx, version = library.get("family") == "rtx", str(library.get("version", ""))
    return not is_rtx and version.partition(".")[0] in ("", "8")


def layer_types(information: str) -> LayerTypes:
    """Read the inspector's JSON."""
    layers = layers_of(information)
    if layers is None:
        return LayerTypes(Counter(), 1)
    types: Counter[str] = Counter()
    hidden = 0
    for layer in layers:
        if _named(layer, _COMPUTE_NOTHING, "LayerType"):
            continue
        found = _types_of(layer)
        types.update(found)
        hidden += not found or _named(layer, _HIDE_LAYERS, "LayerType", "Name")
    return LayerTypes(types, hidden)


def _named(layer: Any, parts: tuple[str, ...], *keys: str) -> bool:
    texts = [str(layer.get(key, "")).lower() for key in keys] if isinstance(layer, dict) else []
    return any(part in text for part in parts for text in texts)


def _types_of(layer: Any) -> list[str]:
    if not isinstance(layer, dict):
        return []
    texts = [
        tensor.get(key)
        for side in ("Inputs", "Outputs")
        if isinstance(layer.get(side), list)
        for tensor in layer[side]
        if isinstance(tensor, dict)
        for key in ("Format/Datatype", "Datatype")
    ]
    return [name for text in texts if isinstance(text, str) and (name := _type_in(text))]


def _type_in(text: str) -> str:
    """Return the type in the description of a format; empty if it contains none, or several."""
    found = {
        name
        for word in _WORD.findall(text)
        for name, spelling in _TYPE_NAMES.items()
        if re.fullmatch(spelling, word, re.IGNORECASE)
    }
    return found.pop() if len(found) == 1 else ""
