"""The arguments and results of a PyTorch module as flat lists of named tensors, and back."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttrt.errors import InputError


@dataclass(frozen=True)
class Structure:
    """How values lie in tuples, lists, dicts and what else PyTorch knows as trees."""

    spec: Any
    """PyTorch's TreeSpec."""
    names: tuple[str, ...]
    """Of the leaves: ``"x"``, ``"states.0"``."""
    constants: Mapping[int, Any]
    """Leaves that are no tensors, by place."""
    is_tensor: bool
    """Whether the value is a tensor itself."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of those that are."""
        return tuple(n for i, n in enumerate(self.names) if i not in self.constants)

    def restore(self, tensors: Sequence[Any]) -> Any:
        """The values with these tensors in place."""
        from torch.utils import _pytree

        if self.is_tensor:
            return tensors[0]
        given = iter(tensors)
        leaves = [
            self.constants[i] if i in self.constants else next(given)
            for i in range(len(self.names))
        ]
        return _pytree.tree_unflatten(leaves, self.spec)

    def take(self, value: Any, root: str) -> list[Any]:
        """The tensors of a value that has to lie the same way.

        Raises:
            InputError: it does not, or has another constant.
        """
        found, leaves = flatten(value, root)
        if found.names != self.names:
            raise InputError(
                f"expected {', '.join(self.names)} as in the example, got {', '.join(found.names)}"
            )
        if found.spec != self.spec:
            raise InputError(
                f"expected arguments like the example's, {self.spec}; got {found.spec}"
            )
        for i, name in enumerate(self.names):
            if (i in self.constants) != (i in found.constants):
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


def flatten(value: Any, root: str = "") -> tuple[Structure, list[Any]]:
    """The structure of a value and its leaves, tensors and constants.

    Args:
        value: for instance a dict from parameters' names.
        root: the name of a value that is a leaf itself.

    Raises:
        InputError: two leaves have the same name, as a key with a dot in it may give.
    """
    import torch
    from torch.utils import _pytree

    found, spec = _pytree.tree_flatten_with_path(value)
    names = tuple(".".join(map(_key, path)) or root for path, _ in found)
    leaves = [leaf for _, leaf in found]
    constants = {i: leaf for i, leaf in enumerate(leaves) if not isinstance(leaf, torch.Tensor)}
    if len(set(names)) != len(names):
        raise InputError(f"expected a name of its own for each value, got {', '.join(names)}")
    is_tensor = isinstance(value, torch.Tensor)
    return Structure(spec, names, constants, is_tensor), leaves


def _key(part: Any) -> str:
    """What stands between dots for a step of a path into a tree: an index, a key, an attribute."""
    for attribute in ("idx", "key", "name"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or (type(one) is type(other) and bool(one == other))
    except (TypeError, ValueError, RuntimeError):  # arrays: not one answer
        return False


class Call:
    """The parameters of a module's ``forward`` that an example gives."""

    def __init__(self, signature: inspect.Signature, names: Sequence[str]) -> None:
        """Take the signature, and the names of the parameters; see `bind`."""
        self._signature = signature
        self._names = tuple(names)

    @classmethod
    def bind(cls, forward: Any, example: Any) -> "tuple[Call, dict[str, Any]]":
        """Bind an example.

        Args:
            forward: the method.
            example: one tensor, a tuple or list of positional arguments, or a mapping of keyword
                arguments.

        Returns:
            How to call it, and the arguments by name.

        Raises:
            InputError: the example does not fit the signature.
        """
        signature = inspect.signature(forward)
        if isinstance(example, Mapping):
            arguments = _bound(signature, (), example)
        else:
            positional = tuple(example) if isinstance(example, (tuple, list)) else (example,)
            arguments = _bound(signature, positional, {})
        return cls(signature, tuple(arguments)), arguments

    def is_plain(self, names: Sequence[str]) -> bool:
        """Whether the example's arguments are the first parameters, each of them a leaf."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        first = list(self._signature.parameters.values())[: len(names)]
        return [p.name for p in first if p.kind in kinds] == list(self._names) == list(names)

    def match(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call, by the names that the example has.

        Raises:
            InputError: it gives others.
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
        """Call a function of the same signature."""
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
        raise InputError(f"the arguments do not fit forward{signature}: {error}") from None
