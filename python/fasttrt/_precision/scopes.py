"""Define the data structures of `Rewriter`: values, scopes and changes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fasttrt._graph.traversal import all_names, subgraphs
from fasttrt._precision import rules as rules
from fasttrt._precision.placements import DEFAULT
from fasttrt._precision.rules import Sensitivity

if TYPE_CHECKING:
    import onnx

FLOAT = 1  # TensorProto.FLOAT


@dataclass
class Changes:
    """The changes made to a model."""

    opset: int = 0
    """The opset of the converted model."""
    converted: int = 0
    """The number of nodes that compute in the 16-bit type."""
    kept: dict[str, str] = field(default_factory=dict)
    """The nodes that stay in float32, with the reason."""
    zeroed: dict[str, int] = field(default_factory=dict)
    """The number of elements that became zero in constants, beside much larger ones."""
    faint: dict[str, float] = field(default_factory=dict)
    """The float16 tensors whose values are expected to vanish, with their magnitude."""
    placement: str = DEFAULT
    """Where the casts are, one of `fasttrt._precision.placements`."""


@dataclass
class Value:
    """A tensor, and the types in which it is available."""

    scope: "Scope"
    name: str
    type: int
    """The original type; 0 if unknown."""
    made: int
    """The type in which it is now computed."""
    original: int
    """The type in which it has its original name."""
    kind: Sensitivity = Sensitivity.NONE
    constant: "onnx.TensorProto | None" = None
    is_node: bool = False
    """Whether it is a constant from a node, not an initializer."""
    names: dict[int, str] = field(default_factory=dict)
    """Its names, by type."""
    is_bounded: bool = False
    """Whether it is computed in float32 but rounded when it is moved: it fits into 16 bits, and
    TensorRT fuses attention only if probabilities are rounded right after Softmax."""


@dataclass
class Scope:
    """A graph that is being rewritten."""

    parent: "Scope | None"
    types: dict[str, int]
    results: dict[str, int]
    """The required types of its outputs."""
    exact: set[str]
    """The tensors of `exact_tensors`."""
    returned: set[str]
    """The tensors of `returned_tensors`."""
    guarded: set[str]
    """The tensors of `guarded_tensors`."""
    is_wide: bool = False
    """Whether all of it stays in float32."""
    values: dict[str, Value] = field(default_factory=dict)
    nodes: "list[onnx.NodeProto]" = field(default_factory=list)

    def find(self, name: str) -> Value | None:
        """Look up a name, in the outer graphs too."""
        found = self.values.get(name)
        return found if found or not self.parent else self.parent.find(name)


def float_constant(node: "onnx.NodeProto") -> "onnx.TensorProto | None":
    """Return the value of a float32 Constant, whichever attribute it uses."""
    from onnx import helper

    if node.op_type != "Constant" or node.domain:
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_type == FLOAT:
            tensor: onnx.TensorProto = attribute.t
            return tensor
        if attribute.name == "value_float":
            return helper.make_tensor("", FLOAT, (), [attribute.f])
        if attribute.name == "value_floats":
            return helper.make_tensor("", FLOAT, (len(attribute.floats),), attribute.floats)
    return None


def exact_tensors(graph: "onnx.GraphProto") -> set[str]:
    """Return the tensors that later nodes need in full precision."""
    found: set[str] = set()
    for node in reversed(graph.node):
        passes_on = not found.isdisjoint(node.output)
        found.update(rules.exact_inputs(node.op_type, list(node.input), passes_on))
    return found


def guarded_tensors(graph: "onnx.GraphProto") -> set[str]:
    """Return the tensors whose small elements may matter for later nodes.

    They include outputs, and everything that subgraphs use, as these uses are not analyzed.
    """
    found = {value.name for value in graph.output}
    for node in reversed(graph.node):
        passes_on = not found.isdisjoint(node.output)
        found.update(rules.guarded_inputs(node.op_type, list(node.input), passes_on))
        for inner in subgraphs(node):
            found.update(all_names(inner))
    return found


def returned_tensors(graph: "onnx.GraphProto") -> set[str]:
    """Return the graph's outputs and the tensors that are only moved on the way to one."""
    found = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if node.op_type in rules.TYPE_PRESERVING_OPS and not found.isdisjoint(node.output):
            found.update(node.input)
    return found
