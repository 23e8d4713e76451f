"""Rewrite Einsum equations in lowercase letters, all that TensorRT's parser reads."""

from string import ascii_lowercase
from typing import TYPE_CHECKING

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_rules import Replacement, attribute, copy_node

if TYPE_CHECKING:
    import onnx

_DOTS = "..."


def lowercase_einsum(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    """Replace uppercase letters in an Einsum's equation, and make its output explicit."""
    equation = attribute(node, "equation", b"").decode().replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    if not arrow:
        output = _implicit_output(inputs)
    letters = dict.fromkeys(c for c in f"{inputs}{output}" if c not in ".,")
    if all(letter in ascii_lowercase for letter in letters):
        return None
    if len(letters) > len(ascii_lowercase):
        return "its equation has more than 26 different letters"
    free = iter(sorted(set(ascii_lowercase) - letters.keys()))
    names = {c: c if c in ascii_lowercase else next(free) for c in letters}
    written = "".join(names.get(c, c) for c in f"{inputs}->{output}")
    return [copy_node(node, equation=written)]


def _implicit_output(inputs: str) -> str:
    """Return the implicit output of an equation: the letters that occur once, sorted."""
    once = sorted(c for c in set(inputs) - set(".,") if inputs.count(c) == 1)
    return (_DOTS if _DOTS in inputs else "") + "".join(once)
