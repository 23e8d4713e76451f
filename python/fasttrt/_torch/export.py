"""From a PyTorch module to an ONNX file, by PyTorch's own exporters."""

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from operator import index
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fasttrt._common.tensor_spec import Range
from fasttrt._torch.pytree import Call, Structure, flatten
from fasttrt.errors import Error, InputError

Dynamic: TypeAlias = Mapping[str, Mapping[int, tuple[int, int, int]]]
"""For inputs by name, axes whose extents vary: (min, opt, max)."""
Exporter: TypeAlias = Literal["auto", "dynamo", "torchscript"]


def choose_exporter(exporter: Exporter) -> bool:
    """Whether it is the one on torch.export ("dynamo"), which needs onnxscript and PyTorch 2.6.

    Raises:
        InputError: there is no such exporter, or it lacks what it needs.
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
    """What varies, checked, with axes counted from 0.

    Raises:
        InputError: an input, an axis or a range that cannot be.
    """
    found: dict[str, dict[int, tuple[int, int, int]]] = {}
    for name, axes in (dynamic or {}).items():
        if name not in shapes:
            raise InputError(f"dynamic: no input {name!r}; there is {', '.join(shapes)}")
        rank = len(shapes[name])
        expected = f"dynamic: {name}: expected {{axis: (min, opt, max)}} with axes of rank {rank}"
        if not isinstance(axes, Mapping):
            raise InputError(f"{expected}, got {axes!r}")
        found[name] = {}
        for axis, extents in axes.items():
            try:
                place = index(axis)
                least, best, most = (index(extent) for extent in extents)
            except (TypeError, ValueError):
                raise InputError(f"{expected}, got {{{axis!r}: {extents!r}}}") from None
            if not -rank <= place < rank or not 0 < least <= best <= most:
                raise InputError(
                    f"{expected} and 0 < min <= opt <= max, got {{{axis!r}: {extents!r}}}"
                )
            found[name][place % rank] = (least, best, most)
    return found


def profile_of(
    ranges: Mapping[str, Mapping[int, tuple[int, int, int]]], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Range]:
    """(min, opt, max) shapes of the inputs that vary, for ``shapes=``."""
    profile = {}
    for name, axes in ranges.items():
        fixed = tuple((extent, extent, extent) for extent in shapes[name])
        extents = [axes.get(axis, same) for axis, same in enumerate(fixed)]
        least, best, most = (tuple(extent[i] for extent in extents) for i in range(3))
        profile[name] = (least, best, most)
    return profile


def as_function(
    module: Any, call: Call, inputs: Structure, outputs: Structure
) -> tuple[Any, set[str]]:
    """A module as one that takes tensors by position and gives a tuple of tensors.

    Args:
        module: in evaluation mode; it becomes a part of the result, and is not changed.
        call: how to call it.
        inputs: its arguments, by name.
        outputs: its results.

    Returns:
        The module, and a set into which a run under an exporter puts the names of results that are
        numbers here, and not constant there: they follow the extents of the arguments.
    """
    import torch

    varying: set[str] = set()

    class Function(torch.nn.Module):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            super().__init__()
            self.inner = module
            self.training = False  # it alone: eval() would reach into the module

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
    """Write an ONNX file.

    Args:
        module: of `as_function`.
        tensors: an example.
        input_names: for the tensors, in order.
        output_names: for the results, in order.
        ranges: see `ranges_of`.
        path: of the file.
        dynamo: see `choose_exporter`.
        opset: None: the exporter's choice.

    Raises:
        Error: PyTorch cannot export it.
    """
    import torch

    example = tuple(
        _grown(tensor, ranges.get(name, {}))
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
            for kind in (DeprecationWarning, FutureWarning):  # of PyTorch about itself
                warnings.simplefilter("ignore", kind)
            torch.onnx.export(
                module, example, str(path), dynamo=dynamo, input_names=list(input_names),
                output_names=list(output_names), **options,
            )  # fmt: skip
    except Exception as error:  # of many classes, most of them private
        name, other = ("dynamo", "torchscript") if dynamo else ("torchscript", "dynamo")
        raise Error(
            f'torch.onnx.export cannot export the module with exporter="{name}" '
            f'(another is "{other}"): {error}'
        ) from error


def _grown(tensor: Any, axes: Mapping[int, tuple[int, int, int]]) -> Any:
    """Twice the tensor along varying axes of extent 1, which torch.export takes for fixed."""
    import torch

    for axis, (_, _, most) in axes.items():
        if tensor.shape[axis] == 1 and most > 1:
            tensor = torch.cat([tensor, tensor], axis)
    return tensor
