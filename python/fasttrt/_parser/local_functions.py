"""Inline local functions: replace each call by the nodes of its function.

TensorRT's parser looks up functions by name alone, takes one that is named like an ONNX operator
for that operator, refuses calls that omit inputs or outputs, and follows recursive functions until
the process dies.
"""

from typing import TYPE_CHECKING, NoReturn, TypeAlias

from fasttrt._graph.model import OnnxModel
from fasttrt._graph.opset import onnx_version
from fasttrt._graph.traversal import all_names, replace_all, subgraphs, with_inner
from fasttrt._parser.opsets import convert_nodes, unify_opsets
from fasttrt.errors import ParseError, ParseIssue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from fasttrt._parser.pipeline import Target

MAX_NODES = 100_000
"""The most nodes that functions may expand to: a few nested calls can expand to any number."""
MAX_BYTES = 2**30
"""The most bytes that these nodes may take."""
MAX_DEPTH = 100
"""The deepest nesting of calls."""

_Key: TypeAlias = tuple[str, str, str]
"""A function's domain, name and overload."""


def inline_functions(model: OnnxModel, target: "Target") -> OnnxModel:
    """Replace each call of a local function by the function's nodes.

    The nodes and the tensors between them are named after the call, ``call/node``. If the versions
    of ONNX's operators differ, all are converted to the newest.

    Raises:
        ParseError: a function is recursive, is called with too many inputs or outputs, or cannot be
            converted; or all of them expand to more than `MAX_NODES` nodes. Names the call.
    """
    if not model.skeleton.functions:
        return model
    proto = model.copy_skeleton()
    inliner = _Inliner(proto)
    inliner.expand_model()
    del proto.functions[:]
    changed = model.changed(proto, inliner.changes())
    changed.callers = inliner.callers
    return changed


class _Inliner:
    def __init__(self, proto: "onnx.ModelProto") -> None:
        self._proto = proto
        self._functions: dict[_Key, onnx.FunctionProto] = {}
        for function in proto.functions:
            key = _key(function.name, function)
            if key in self._functions:
                _refuse(f"the model has two functions named {_label(key)}")
            self._functions[key] = function
        self._names = set(all_names(proto.graph))
        self._nodes = self._bytes = 0
        self._calls: dict[_Key, int] = {}
        self._version = 0
        self._outer: onnx.NodeProto | None = None
        """The node of the model's graph that is being inlined."""
        self._place = -1
        """Its index in the original graph."""
        self.callers: dict[str, int] = {}
        """By the output of an inlined node, the index of the call in the model's graph."""

    def expand_model(self) -> None:
        """Inline all calls in the model's graph and its subgraphs."""
        graph = self._proto.graph
        places = {tuple(node.output): index for index, node in enumerate(graph.node)}
        # Conversion may insert nodes, so the places are those before it.
        try:
            self._version = unify_opsets(self._proto, self._called())
        except Exception as error:  # of several classes, RuntimeError among them
            _refuse(f"ONNX cannot convert the graph to the opset of the model's functions: {error}")
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            self._place, self._outer = places.get(tuple(node.output), -1), node
            nodes += self._expand(node, ())
        replace_all(graph.node, nodes)

    def changes(self) -> list[str]:
        """Return a line for each function that is called."""
        return [
            f"function {_label(key)}: {count} calls are inlined"
            for key, count in self._calls.items()
        ] or ["functions without calls are removed"]

    def _called(self) -> "list[onnx.FunctionProto]":
        """Return the functions that the graph calls, and those that they call."""
        found: dict[_Key, onnx.FunctionProto] = {}
        pending: list[Sequence[onnx.NodeProto]] = [self._proto.graph.node]
        while pending:
            for node in with_inner(pending.pop()):
                key = _key(node.op_type, node)
                if key in self._functions and key not in found:
                    found[key] = self._functions[key]
                    pending.append(found[key].node)
        return list(found.values())

    def _expand(self, node: "onnx.NodeProto", active: tuple[_Key, ...]) -> "list[onnx.NodeProto]":
        """Return the nodes that replace a call; `active` contains the functions around it."""
        for graph in subgraphs(node):
            replace_all(graph.node, [step for n in graph.node for step in self._expand(n, active)])
        key = _key(node.op_type, node)
        function = self._functions.get(key)
        if function is None:
            return [node]
        self._check_call(function, node, (*active, key))
        self._calls[key] = self._calls.get(key, 0) + 1
        body = _Call(function, node, self._names).nodes()
        self._count(body)
        version = onnx_version(function.opset_import) or self._version
        try:
            body = convert_nodes(body, version, self._version, self._names)
        except Exception as error:  # of several classes, RuntimeError among them
            self._refuse(
                f"the function {_label(key)} has opset {version}, and ONNX cannot convert it "
                f"to {self._version}: {error}"
            )
        self.callers |= {name: self._place for n in with_inner(body) for name in n.output if name}
        return [step for inner in body for step in self._expand(inner, (*active, key))]

    def _check_call(
        self, function: "onnx.FunctionProto", call: "onnx.NodeProto", active: tuple[_Key, ...]
    ) -> None:
        name = _label(active[-1])
        if active[-1] in active[:-1]:
            path = " calls ".join(map(_label, active[active.index(active[-1]) :]))
            self._refuse(f"the function {name} calls itself ({path})")
        if len(active) > MAX_DEPTH:
            self._refuse(f"calls of functions are nested more than {MAX_DEPTH} deep")
        for what, arguments, parameters in (
            ("inputs", call.input, function.input),
            ("outputs", call.output, function.output),
        ):
            if len(arguments) > len(parameters):
                self._refuse(
                    f"the function {name} has {len(parameters)} {what}, got {len(arguments)}"
                )
        missing = set(function.input[len(call.input) :])
        missing |= {a for a, b in zip(function.input, call.input, strict=False) if not b}
        for formal, actual in zip(function.output, call.output, strict=False):
            if actual and formal in missing:
                self._refuse(
                    f"the function {name} returns its input {formal}, which the call omits"
                )

    def _count(self, body: "list[onnx.NodeProto]") -> None:
        self._nodes += 1 + sum(1 for _ in with_inner(body))  # an empty function counts, too
        self._bytes += sum(step.ByteSize() for step in body)
        if self._nodes > MAX_NODES:
            self._refuse(f"inlined, the model's functions have more than {MAX_NODES} nodes")
        if self._bytes > MAX_BYTES:
            self._refuse(f"inlined, the model's functions take more than {MAX_BYTES} bytes")

    def _refuse(self, reason: str) -> NoReturn:
        assert self._outer is not None
        _refuse(reason, self._place, self._outer.name, self._outer.op_type)


class _Call:
    """Copy a function's nodes with the names and attributes of a call."""

    def __init__(
        self, function: "onnx.FunctionProto", call: "onnx.NodeProto", taken: set[str]
    ) -> None:
        self._function, self._taken = function, taken
        self._numbers: dict[str, int] = {}
        self._prefix = call.name or next(filter(None, call.output), call.op_type)
        self._attributes = {a.name: a for a in (*function.attribute_proto, *call.attribute)}
        self._names: dict[str, str] = {"": ""}
        self._names |= dict.fromkeys(function.input, "")  # as calls may leave inputs out
        self._names |= dict(zip(function.input, call.input, strict=False))
        self._copies = []
        """Outputs that already have a name outside, and the one that the call gives them."""
        for formal, actual in zip(function.output, call.output, strict=False):
            if actual and formal in self._names:
                self._copies.append((self._names[formal], actual))
            elif actual:
                self._names[formal] = actual

    def nodes(self) -> "list[onnx.NodeProto]":
        from onnx import helper

        nodes = [self._instance(node) for node in self._function.node]
        return nodes + [
            helper.make_node("Identity", [source], [target], self._unused("Identity"))
            for source, target in self._copies
        ]

    def _instance(self, node: "onnx.NodeProto") -> "onnx.NodeProto":
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name = self._unused(node.name or node.op_type)
        replace_all(copy.input, list(map(self._name, node.input)))
        while copy.input and not copy.input[-1]:
            del copy.input[-1]
        replace_all(copy.output, list(map(self._name, node.output)))
        for graph in subgraphs(copy):  # the function's own; those of the call follow below
            self._rename(graph)
        replace_all(copy.attribute, [a for a in map(self._resolved, copy.attribute) if a])
        return copy

    def _rename(self, graph: "onnx.GraphProto") -> None:
        for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            named.name = self._name(named.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = self._name(sparse.values.name)
        replace_all(graph.node, [self._instance(node) for node in graph.node])

    def _resolved(self, attribute: "onnx.AttributeProto") -> "onnx.AttributeProto | None":
        """Resolve a reference to an attribute of the call; return None if that is not set."""
        if not attribute.ref_attr_name:
            return attribute
        value = self._attributes.get(attribute.ref_attr_name)
        if value is None:
            return None
        copy: onnx.AttributeProto = type(value)()
        copy.CopyFrom(value)
        copy.name = attribute.name
        return copy

    def _name(self, name: str) -> str:
        if name not in self._names:
            self._names[name] = self._unused(name)
        return self._names[name]

    def _unused(self, name: str) -> str:
        base = name = f"{self._prefix}/{name}"
        while name in self._taken:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}_{self._numbers[base]}"
        self._taken.add(name)
        return name


def expand_call(
    function: "onnx.FunctionProto", call: "onnx.NodeProto", taken: set[str]
) -> "list[onnx.NodeProto]":
    """Return a function's nodes with the names and attributes of a call.

    Args:
        function: the function.
        call: the node that calls it.
        taken: names in use, which new tensors and nodes must not have; theirs are added.
    """
    return _Call(function, call, taken).nodes()


def _key(name: str, owner: "onnx.NodeProto | onnx.FunctionProto") -> _Key:
    domain = "" if owner.domain == "ai.onnx" else owner.domain
    return domain, name, getattr(owner, "overload", "")  # since onnx 1.16


def _label(key: _Key) -> str:
    return ".".join(filter(None, key[:2])) + (f":{key[2]}" if key[2] else "")


def _refuse(reason: str, index: int = -1, name: str = "", operator: str = "") -> NoReturn:
    issue = ParseIssue(index, name, operator, reason)
    raise ParseError("the model's local functions cannot be inlined", (issue,))
