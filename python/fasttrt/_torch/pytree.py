"""A PyTorch module's arguments and results as flat lists of named tensors."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttrt.errors import InputError


@dataclass(frozen=True)
class TreeSpec:
    """The structure of values in tuples, lists, dicts and other PyTorch trees."""

    spec: Any
    """PyTorch's TreeSpec."""
    names: tuple[str, ...]
    """The names of the leaves, as in ``"x"`` and ``"states.0"``."""
    constants: Mapping[int, Any]
    """The leaves that are not tensors, by index."""
    is_tensor: bool
    """Whether the value is itself a tensor."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the leaves that are tensors."""
        return tuple(n for i, n in enumerate(self.names) if i not in self.constants)

    def restore(self, tensors: Sequence[Any]) -> Any:
        """Rebuild the value with these tensors."""
        from torch.utils import _pytree

        if self.is_tensor:
            return tensors[0]
        remaining = iter(tensors)
        leaves = [
            self.constants[i] if i in self.constants else next(remaining)
            for i in range(len(self.names))
        ]
        return _pytree.tree_unflatten(leaves, self.spec)

    def take(self, value: Any, root: str) -> list[Any]:
        """Return the tensors of a value that must have the same structure.

        Raises:
            InputError: its structure or a constant differs.
        """
        spec, leaves = flatten(value, root)
        if spec.names != self.names:
            raise InputError(
                f"expected {', '.join(self.names)} as in the example, got {', '.join(spec.names)}"
            )
        if spec.spec != self.spec:
            raise InputError(f"expected arguments like the example's, {self.spec}; got {spec.spec}")
        for i, name in enumerate(self.names):
            if (i in self.constants) != (i in spec.constants):
                kinds = ("a constant", "a tensor")
                expected = kinds[i not in self.constants]
                raise InputError(
                    f"{name}: expected {expected} as in the example, got {type(leaves[i]).__name__}"
                )
            if i in self.constants and not _same(self.constants[i], leaves[i]):
                raise InputError(
                    f"{name}: expected {self.constants[i]!r}, which was exported as a constant, "
                    f"got {leaves[i]!r}"
                )
        return [leaf for i, leaf in enumerate(leaves) if i not in self.constants]


def flatten(value: Any, root: str = "") -> tuple[TreeSpec, list[Any]]:
    """Split a value into its structure and its leaves, both tensors and constants.

    Args:
        value: the value, for instance a dict of arguments by parameter name.
        root: the name for a value that is itself a leaf.

    Raises:
        InputError: two leaves have the same name, which a key with a dot can cause.
    """
    import torch
    from torch.utils import _pytree

    pairs, spec = _pytree.tree_flatten_with_path(value)
    names = tuple(".".join(map(_key, path)) or root for path, _ in pairs)
    leaves = [leaf for _, leaf in pairs]
    constants = {i: leaf for i, leaf in enumerate(leaves) if not isinstance(leaf, torch.Tensor)}
    if len(set(names)) != len(names):
        raise InputError(f"expected a unique name for each value, got {', '.join(names)}")
    is_tensor = isinstance(value, torch.Tensor)
    return TreeSpec(spec, names, constants, is_tensor), leaves


def _key(part: Any) -> str:
    """Return the name of a step of a path into a tree: an index, a key or an attribute."""
    for attribute in ("idx", "key", "name"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or (type(one) is type(other) and bool(one == other))
    except (TypeError, ValueError, RuntimeError):  # arrays have no single truth value
        return False


class Call:
    """The parameters of a module's ``forward`` that the example uses."""

    def __init__(self, signature: inspect.Signature, names: Sequence[str]) -> None:
        """Store the signature and the names of the parameters; see `bind`."""
        self._signature = signature
        self._names = tuple(names)

    @classmethod
    def bind(cls, forward: Any, example: Any) -> "tuple[Call, dict[str, Any]]":
        """Bind example inputs to a method's parameters.

        Args:
            forward: the method.
            example: one tensor, a tuple or list of positional arguments, or a mapping of keyword
                arguments.

        Returns:
            How to call it, and the arguments by name.

        Raises:
            InputError: the example does not match the signature.
        """
        signature = inspect.signature(forward)
        if isinstance(example, Mapping):
            arguments = _bound(signature, (), example)
        else:
            positional = tuple(example) if isinstance(example, (tuple, list)) else (example,)
            arguments = _bound(signature, positional, {})
        return cls(signature, tuple(arguments)), arguments

    def is_plain(self, names: Sequence[str]) -> bool:
        """Return whether the example's arguments are the first parameters, all of them leaves."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        first = list(self._signature.parameters.values())[: len(names)]
        return [p.name for p in first if p.kind in kinds] == list(self._names) == list(names)

    def match(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a call's arguments, by the names in the example.

        Raises:
            InputError: it passes other arguments.
        """
        bound = _bound(self._signature, args, kwargs)
        for name in bound.keys() - set(self._names):
            if not _same(bound[name], self._default(name)):
                raise InputError(
                    f"{name}: not in the example that was exported, which has "
                    f"{', '.join(self._names)}"
                )
        return {name: bound[name] if name in bound else self._default(name) for name in self._names}

    def invoke(self, function: Any, arguments: Mapping[str, Any]) -> Any:
        """Call a function with the same signature."""
        bound = self._signature.bind_partial()
        bound.arguments.update(arguments)
        return function(*bound.args, **bound.kwargs)

    def _default(self, name: str) -> Any:
        parameter = self._signature.parameters.get(name)
        return None if parameter is None else parameter.default


def _bound(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise InputError(f"the arguments do not match forward{signature}: {error}") from None
