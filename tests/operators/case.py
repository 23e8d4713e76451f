"""One case: an operator, its inputs and attributes, and the model around it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
OPSET = 22
"""Unless a case says else."""
PLACEMENTS = ("alone", "inside", "constant", "dynamic", "branch")


@dataclass(frozen=True)
class Parameter:
    """An input that is a constant of the model in every placement: axes, pads, a shape."""

    value: Array


Input: TypeAlias = "Array | Parameter | None"
"""None: left out."""


@dataclass(frozen=True)
class Case:
    """An operator with inputs and attributes."""

    operator: str
    label: str
    inputs: tuple[Input, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = OPSET
    outputs: tuple[bool, ...] = (True,)
    """Which of its outputs it has."""
    nodes: Callable[[], Sequence[onnx.NodeProto]] | None = None
    """Of a case of several nodes: from i0, i1, ... to o0, o1, ..."""
    placement: str = "alone"
    is_exact: bool = False
    """Whether the reference computes in the case's own types, as its result depends on them."""

    @property
    def name(self) -> str:
        """Unique among all cases."""
        return f"{self.operator}/{self.opset}/{self.label}/{self.placement}"

    def placed(self, placement: str) -> Case:
        """The same in other surroundings."""
        return replace(self, placement=placement)

    @property
    def arrays(self) -> dict[str, Array]:
        """All inputs by name."""
        return {
            f"i{index}": np.asarray(value.value if isinstance(value, Parameter) else value)
            for index, value in enumerate(self.inputs)
            if value is not None
        }

    @property
    def constants(self) -> dict[str, Array]:
        """The inputs that are in the model."""
        fixed = {i for i, value in enumerate(self.inputs) if isinstance(value, Parameter)}
        if self.placement == "constant":
            fixed |= set(range(1, len(self.inputs)))
        return {name: a for name, a in self.arrays.items() if int(name[1:]) in fixed}

    @property
    def feeds(self) -> dict[str, Array]:
        """The inputs at run time."""
        return {name: a for name, a in self.arrays.items() if name not in self.constants}

    def own_nodes(self) -> list[onnx.NodeProto]:
        """The operator's node, or the nodes of a case of several."""
        if self.nodes is not None:
            return list(self.nodes())
        names = [f"i{i}" if value is not None else "" for i, value in enumerate(self.inputs)]
        outputs = [f"o{i}" if there else "" for i, there in enumerate(self.outputs)]
        return [helper.make_node(self.operator, names, outputs, "case", **self.attributes)]


def random(label: str) -> np.random.Generator:
    """Values that depend on a label alone."""
    return np.random.default_rng(zlib.crc32(label.encode()))


def tensor(name: str, array: Array) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)


def elem_type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))
