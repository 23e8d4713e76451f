"""Whether an engine computes in the precision that was asked for, by TensorRT's own account.

In the inspector's JSON a layer's ``"Inputs"`` and ``"Outputs"`` have a ``"Format/Datatype"``
(``"Half"``, ``"Row major linear FP16 format"``) or a ``"Datatype"``. A layer that says nothing that
can be read, or that hides many (``ForeignNode``), proves nothing.

Where the graph was converted for a library that computes in the types of the network (all but
TensorRT 8), the network's types were counted before the build, and bind it. TensorRT-RTX fuses
neighbours into one layer whose inputs and outputs are float32 while it computes in float16 between,
so there an account without the type is no downgrade.
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

_SPELLINGS = {
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
"""Layers that do not count, by a part of their type's name."""
_HIDE_LAYERS = ("foreignnode", "myelin")
"""Layers that stand for many, by a part of their name or their type's name."""


class Account(NamedTuple):
    """What the inspector says of an engine's layers."""

    types: Counter[str]
    """How many inputs and outputs of computing layers have each type, such as ``"float16"``."""
    hidden: int
    """Layers whose types are not told, or that stand for many."""


def check_plan(plan: Plan, precision: str | None) -> None:
    """Refuse a plan that was built for another precision than a call names.

    Raises:
        InputError: names both. Nothing for a plan that does not say.
    """
    built = plan.metadata.get("config", {})
    if precision is not None and built.get("precision", precision) != precision:
        raise InputError(
            f"precision: expected {built['precision']!r}, with which the plan was built, or "
            f"nothing, got {precision!r}"
        )


def confirm(plan: Plan, inspect: Callable[[], str], precision: str | None) -> None:
    """See that an engine computes in 16 bits, if it should.

    Args:
        plan: the engine's.
        inspect: gives the inspector's JSON.
        precision: what the caller wants; None: what the plan says that it was built for.

    Raises:
        BuildError: all layers tell their types, none computes so, and TensorRT chose the types.
    """
    wanted = DTYPES.get(str(precision or plan.metadata.get("config", {}).get("precision")))
    if wanted is None:
        return
    types, hidden = account(inspect())
    told = ", ".join(f"{count} of {name}" for name, count in types.most_common()) or "of no type"
    if types[wanted]:
        logger.info("the engine computes in %s; its layers' tensors are %s", wanted, told)
    elif "conversion" in plan.metadata and not _chose_types(plan):
        logger.info("the engine computes in %s within layers whose tensors are %s", wanted, told)
    elif hidden or not types or any(types[name] for name in _QUANTIZED):
        logger.warning(
            "that the engine computes in %s was not confirmed: its layers' tensors are %s, and %d "
            "layers do not tell",
            wanted, told, hidden,
        )  # fmt: skip
    else:
        error = BuildError(
            f"expected an engine that computes in {wanted}, got one without: its layers' tensors "
            f"are {told}"
        )
        error.advice = _advice(plan)
        raise error


def _advice(plan: Plan) -> str:
    """Why a library that may choose has chosen float32, and what to do; empty for others."""
    version = plan.metadata.get("library", {}).get("version")
    if not version or not _chose_types(plan):
        return ""
    halves = 'BuildConfig(precision="fp16", conversion="graph", convert_io=True)'
    also = (
        f"{halves} may tip the balance, as inputs and outputs then need no conversion; so may "
        "larger extents"
    )
    if plan.metadata.get("config", {}).get("convert_io"):
        also = "Larger extents may tip the balance"
    return (
        f'TensorRT {version} may compute in float16 with precision="fp16" and need not: of both it '
        "takes what it measures as the fastest, here float32 for every layer, as is usual for "
        f'small networks. precision="tf32" or "fp32" is the faster choice here. {also}'
    )


def _chose_types(plan: Plan) -> bool:
    """Whether the library that built the plan could take other types than the network's."""
    library = plan.metadata.get("library", {})
    is_rtx, version = library.get("family") == "rtx", str(library.get("version", ""))
    return not is_rtx and version.partition(".")[0] in ("", "8")


def account(information: str) -> Account:
    """Read the inspector's JSON."""
    layers = layers_of(information)
    if layers is None:
        return Account(Counter(), 1)
    types: Counter[str] = Counter()
    hidden = 0
    for layer in layers:
        if _named(layer, _COMPUTE_NOTHING, "LayerType"):
            continue
        found = _types_of(layer)
        types.update(found)
        hidden += not found or _named(layer, _HIDE_LAYERS, "LayerType", "Name")
    return Account(types, hidden)


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
    """The type that the description of a format names; empty if it names none, or two."""
    found = {
        name
        for word in _WORD.findall(text)
        for name, spelling in _SPELLINGS.items()
        if re.fullmatch(spelling, word, re.IGNORECASE)
    }
    return found.pop() if len(found) == 1 else ""
