"""Export of a PyTorch module to an ONNX file, by PyTorch's own exporters."""

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from operator import index
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fasttrt._common.tensor_spec import Range
from fasttrt._torch.pytree import Call, TreeSpec, flatten
from fasttrt.errors import Error, InputError

Dynamic: TypeAlias = Mapping[str, Mapping[int, tuple[int, int, int]]]
"""The dynamic axes of inputs, by input name and axis: (min, opt, max)."""
Exporter: TypeAlias = Literal["auto", "dynamo", "torchscript"]


def choose_exporter(exporter: Exporter) -> bool:
    """Choose between "dynamo" (True), which needs onnxscript and PyTorch 2.6, and "torchscript".

    Raises:
        InputError: there is no such exporter, or its requirements are missing.
    """
    if exporter not in ("auto", "dynamo", "torchscript"):
        raise InputError(f'exporter: expected "auto", "dynamo" or "torchscript", got {exporter!r}')
    if exporter == "torchscript":
        return False
    import torch

    missing = "" if find_spec("onnxscript") else "onnxscript: pip install onnxscript"
    if not hasattr(torch.export.Dim, "DYNAMIC"):
        missing = f"PyTorch 2.6 or later, this is {torch.__version__}"
    if exporter == "dynamo" and missing:
        raise InputError(f'exporter="dynamo" needs {missing}')
    return not missing


def ranges_of(
    dynamic: Dynamic | None, shapes: Mapping[str, Sequence[int]]
) -> dict[str, dict[int, tuple[int, int, int]]]:
    """Check ``dynamic``, and return it with non-negative axes.

    Raises:
        InputError: an input or axis does not exist, or a range is invalid.
    """
    ranges: dict[str, dict[int, tuple[int, int, int]]] = {}
    for name, axes in (dynamic or {}).items():
        if name not in shapes:
            raise InputError(
                f"dynamic: there is no input {name!r}; the inputs are {', '.join(shapes)}"
            )
        rank = len(shapes[name])
        expected = f"dynamic: {name}: expected {{axis: (min, opt, max)}} with axes of rank {rank}"
        if not isinstance(axes, Mapping):
            raise InputError(f"{expected}, got {axes!r}")
        ranges[name] = {}
        for axis, sizes in axes.items():
            try:
                place = index(axis)
                min_, opt, max_ = (index(size) for size in sizes)
            except (TypeError, ValueError):
                raise InputError(f"{expected}, got {{{axis!r}: {sizes!r}}}") from None
            if not -rank <= place < rank or not 0 < min_ <= opt <= max_:
                raise InputError(
                    f"{expected} and 0 < min <= opt <= max, got {{{axis!r}: {sizes!r}}}"
                )
            ranges[name][place % rank] = (min_, opt, max_)
    return ranges


def profile_of(
    ranges: Mapping[str, Mapping[int, tuple[int, int, int]]], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Range]:
    """Return the (min, opt, max) shapes of the dynamic inputs, for ``shapes=``."""
    profile = {}
    for name, axes in ranges.items():
        fixed = tuple((size, size, size) for size in shapes[name])
        sizes = [axes.get(axis, same) for axis, same in enumerate(fixed)]
        min_, opt, max_ = (tuple(size[i] for size in sizes) for i in range(3))
        profile[name] = (min_, opt, max_)
    return profile


def as_function(
    module: Any, call: Call, inputs: TreeSpec, outputs: TreeSpec
) -> tuple[Any, set[str]]:
    """Wrap a module in one that takes positional tensors and returns a tuple of tensors.

    Args:
        module: the module, in evaluation mode; it becomes part of the result, and is not changed.
        call: how to call it.
        inputs: the structure of its arguments, by name.
        outputs: the structure of its results.

    Returns:
        The module, and a set to which a run under an exporter adds the names of results that are
        numbers here but not constant there: they depend on the shapes of the arguments.
    """
    import torch

    varying: set[str] = set()

    class Function(torch.nn.Module):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            super().__init__()
            self.inner = module
            self.training = False  # of the wrapper only: eval() would change the module

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            _, results = flatten(call.invoke(self.inner, inputs.restore(tensors)), "output")
            for i, constant in outputs.constants.items():
                if type(results[i]) is not type(constant):
                    varying.add(outputs.names[i])
            return tuple(r for i, r in enumerate(results) if i not in outputs.constants)

    return Function(), varying


def export(
    module: Any,
    tensors: Sequence[Any],
    input_names: Sequence[str],
    output_names: Sequence[str],
    ranges: Mapping[str, Mapping[int, tuple[int, int, int]]],
    path: Path,
    *,
    dynamo: bool,
    opset: int | None,
) -> None:
    """Export a module to an ONNX file.

    Args:
        module: the module, from `as_function`.
        tensors: example inputs.
        input_names: names for the tensors, in order.
        output_names: names for the results, in order.
        ranges: the dynamic axes, see `ranges_of`.
        path: the file.
        dynamo: whether to use that exporter, see `choose_exporter`.
        opset: the opset; None for the exporter's choice.

    Raises:
        Error: PyTorch cannot export it.
    """
    import torch

    example = tuple(
        _double_ones(tensor, ranges.get(name, {}))
        for name, tensor in zip(input_names, tensors, strict=True)
    )
    options: dict[str, Any] = {} if opset is None else {"opset_version": opset}
    if dynamo:
        axes = tuple(
            dict.fromkeys(ranges.get(name, {}), torch.export.Dim.DYNAMIC) for name in input_names
        )
        options |= {"dynamic_shapes": {"tensors": axes}, "verbose": False, "external_data": False}
    else:
        options["dynamic_axes"] = {
            name: {axis: f"{name}.{axis}" for axis in axes} for name, axes in ranges.items()
        }
    try:
        with warnings.catch_warnings(), torch.no_grad():
            for kind in (DeprecationWarning, FutureWarning):  # PyTorch's, about its own code
                warnings.simplefilter("ignore", kind)
            torch.onnx.export(
                module, example, str(path), dynamo=dynamo, input_names=list(input_names),
                output_names=list(output_names), **options,
            )  # fmt: skip
    except Exception as error:  # many classes, most of them private
        name, other = ("dynamo", "torchscript") if dynamo else ("torchscript", "dynamo")
        raise Error(
            f'torch.onnx.export cannot export the module with exporter="{name}" '
            f'(another is "{other}"): {error}'
        ) from error


def _double_ones(tensor: Any, axes: Mapping[int, tuple[int, int, int]]) -> Any:
    """Double a tensor along dynamic axes of size 1, which torch.export would treat as fixed."""
    import torch

    for axis, (_, _, max_) in axes.items():
        if tensor.shape[axis] == 1 and max_ > 1:
            tensor = torch.cat([tensor, tensor], axis)
    return tensor
