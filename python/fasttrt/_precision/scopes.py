"""The parts of an ONNX graph as `Rewriter` sees them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fasttrt._graph.traversal import all_names, subgraphs
from fasttrt._precision import rules as rules
from fasttrt._precision.placements import DEFAULT
from fasttrt._precision.rules import Kind

if TYPE_CHECKING:
    import onnx

FLOAT = 1  # TensorProto.FLOAT


@dataclass
class Changes:
    """What was done to a model."""

    opset: int = 0
    """The version of ONNX's operators that the converted model has."""
    converted: int = 0
    """Nodes that compute in the 16-bit type."""
    kept: dict[str, str] = field(default_factory=dict)
    """Nodes that stay in float32, and why."""
    zeroed: dict[str, int] = field(default_factory=dict)
    """Constants of which so many elements became zero, next to much larger ones."""
    faint: dict[str, float] = field(default_factory=dict)
    """Tensors of float16 that are expected to be next to nothing, and how large."""
    placement: str = DEFAULT
    """Where the casts are, one of `fasttrt._precision.placements`."""


@dataclass
class Value:
    """A tensor, and the types in which it is there."""

    scope: "Scope"
    name: str
    type: int
    """As it was; 0 if that is not known."""
    made: int
    """As it is made now."""
    original: int
    """The type in which it goes by its old name."""
    kind: Kind = Kind.PLAIN
    constant: "onnx.TensorProto | None" = None
    is_node: bool = False
    """A constant that was a node, not an initializer."""
    names: dict[int, str] = field(default_factory=dict)
    """By type."""
    is_bounded: bool = False
    """Made in float32, and rounded as soon as it moves on: 16 bits hold it, and TensorRT fuses
    attention only where its probabilities are rounded right after Softmax."""


@dataclass
class Scope:
    """A graph under way."""

    parent: "Scope | None"
    types: dict[str, int]
    results: dict[str, int]
    """The types that its outputs shall have."""
    exact: set[str]
    """What `rules.exact_inputs` speaks of."""
    returned: set[str]
    """What `returned_tensors` gives."""
    guarded: set[str]
    """What `guarded_tensors` gives."""
    is_wide: bool = False
    """Whether all of it stays in float32."""
    values: dict[str, Value] = field(default_factory=dict)
    nodes: "list[onnx.NodeProto]" = field(default_factory=list)

    def find(self, name: str) -> Value | None:
        """What the name means here."""
        found = self.values.get(name)
        return found if found or not self.parent else self.parent.find(name)


def float_constant(node: "onnx.NodeProto") -> "onnx.TensorProto | None":
    """The value of a Constant of float32, however it is written."""
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
    """The tensors that are to keep all their bits for what follows."""
    found: set[str] = set()
    for node in reversed(graph.node):
        passes_on = not found.isdisjoint(node.output)
        found.update(rules.exact_inputs(node.op_type, list(node.input), passes_on))
    return found


def guarded_tensors(graph: "onnx.GraphProto") -> set[str]:
    """Give the tensors whose small elements may matter for what follows.

    Outputs are among them, and all that inner graphs use, as nothing is known of their uses.
    """
    found = {value.name for value in graph.output}
    for node in reversed(graph.node):
        passes_on = not found.isdisjoint(node.output)
        found.update(rules.guarded_inputs(node.op_type, list(node.input), passes_on))
        for inner in subgraphs(node):
            found.update(all_names(inner))
    return found


def returned_tensors(graph: "onnx.GraphProto") -> set[str]:
    """Give the graph's outputs and the tensors that reach one without being computed with."""
    found = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if node.op_type in rules.FOLLOWS and not found.isdisjoint(node.output):
            found.update(node.input)
    return found
