"""A PyTorch module run by an engine: `from_torch`."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, cast

import numpy as np

from fasttrt._common.optional_packages import require
from fasttrt._engine.engine import Engine
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import frozen_values
from fasttrt._torch.arrays import check_frozen, to_array, to_tensor
from fasttrt._torch.export import (
    Dynamic,
    Exporter,
    as_function,
    choose_exporter,
    export,
    profile_of,
    ranges_of,
)
from fasttrt._torch.pytree import Call, TreeSpec, flatten
from fasttrt.errors import InputError, LibraryNotFoundError

if TYPE_CHECKING:
    # Those with defaults, so that TorchModule may be written without parameters.
    from typing_extensions import ParamSpec, TypeVar, Unpack

    from fasttrt._engine.engine_options import FixedShapeOptions

    P = ParamSpec("P", default=...)
    ResultT = TypeVar("ResultT", default=Any, covariant=True)
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    ResultT = TypeVar("ResultT", covariant=True)


class HasForward(Protocol[P, ResultT]):
    """The types of a ``torch.nn.Module``: the arguments and results of its ``forward``."""

    @property
    def forward(self) -> Callable[P, ResultT]:
        """Compute the results."""


def from_torch(
    module: "HasForward[P, ResultT]",
    example_inputs: Any,
    *,
    dynamic: Dynamic | None = None,
    exporter: Exporter = "auto",
    opset: int | None = None,
    **engine_options: "Unpack[FixedShapeOptions]",
) -> "TorchModule[P, ResultT]":
    """Export a PyTorch module, build it, and return a callable that replaces it.

    The module itself is not changed or moved. One path through its code is exported: arguments that
    are not tensors, and branches that depend on values, are those of the example.

    Args:
        module: a ``torch.nn.Module`` in evaluation mode, entirely on one device.
        example_inputs: the arguments of ``forward``: a tensor; a tuple or list of positional
            arguments; or a mapping of keyword arguments. Tensors may be in tuples, lists and dicts,
            and are moved to the module's device.
        dynamic: the dynamic dimensions, as in ``{"x": {0: (1, 8, 32)}}``: by input (the name of
            ``forward``'s parameter; ``"states.0"`` within a tuple), axis and (min, opt, max). All
            others are fixed to the example's.
        exporter: ``"dynamo"``: PyTorch's exporter based on torch.export, which needs onnxscript.
            ``"torchscript"``: the older one, by tracing, which needs nothing else and is faster.
            ``"auto"``: the first if onnxscript is installed (and PyTorch 2.6 or later), else the
            second.
        opset: the opset of the ONNX model; None for the exporter's choice. TensorRT 8.6 requires at
            most 17.
        engine_options: options of `Engine` except ``shapes``: ``device``, ``library``, ``config``
            and so on. The default device for a module on a GPU is that GPU. Inputs in ``freeze``
            must have that value in the example and in each call.

    Returns:
        The engine as a callable with the module's arguments and results.

    Raises:
        LibraryNotFoundError: PyTorch is not installed, or onnx (a MissingPackageError).
        InputError: the module is in training mode or on several devices, or an argument is invalid.
        Error: PyTorch cannot export the module; also everything that `Engine` raises.

    Examples:
        <!-- needs: torch -->
        >>> import torch
        >>> module = torch.nn.Linear(784, 10).eval()
        >>> dynamic = {"input": {0: (1, 8, 32)}}
        >>> fast = fasttrt.from_torch(module, torch.rand(8, 784), dynamic=dynamic)
        >>> fast(torch.rand(2, 784)).shape
        torch.Size([2, 10])
    """
    if find_spec("torch") is None:
        raise LibraryNotFoundError("from_torch() needs PyTorch: pip install torch")
    require("from_torch()", "onnx")
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    if "shapes" in engine_options:
        raise InputError("shapes: use dynamic= instead; fixed dimensions are the example's")
    training = [name or "itself" for name, part in module.named_modules() if part.training]
    if training:
        raise InputError(
            f"module: expected evaluation mode, as dropout and normalization change in training; "
            f"call module.eval() first (in training mode: {', '.join(training[:3])})"
        )
    dynamo = choose_exporter(exporter)
    device = _device(module)
    if device is not None and device.type == "cuda" and "devices" not in engine_options:
        engine_options.setdefault("device", str(device))
    call, arguments = Call.bind(module.forward, example_inputs)
    inputs, leaves = flatten(arguments)
    tensors = [leaf.detach() for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if device is not None:
        tensors = [tensor.to(device) for tensor in tensors]
    if not tensors:
        raise InputError("example_inputs: expected at least one tensor")
    shapes = {n: tuple(t.shape) for n, t in zip(inputs.tensors, tensors, strict=True)}
    ranges = ranges_of(dynamic, shapes)
    with torch.no_grad():
        outputs, _ = flatten(call.invoke(module, inputs.restore(tensors)), "output")
    names = _output_names(outputs.tensors, inputs.tensors)

    function, varying = as_function(module, call, inputs, outputs)
    with tempfile.TemporaryDirectory(prefix="fasttrt-") as folder:
        path = Path(folder) / "module.onnx"
        export(function, tensors, inputs.tensors, names, ranges, path, dynamo=dynamo, opset=opset)
        if ranges and varying:
            raise InputError(
                f"the result {', '.join(sorted(varying))} is a number that may depend on the "
                "dimensions in dynamic=; expected tensors and constants"
            )
        frozen = frozen_values(OnnxModel(path), engine_options.get("freeze") or {})
        for name, tensor in zip(inputs.tensors, tensors, strict=True):
            if name in frozen:
                check_frozen(name, frozen[name], tensor.cpu())
        engine = Engine(path, shapes=profile_of(ranges, shapes) or None, **engine_options)
    return TorchModule(engine, call, inputs, outputs, names, frozen)


def _output_names(results: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """Choose names for the ONNX model's outputs: not numbers, and distinct from the inputs'."""
    names: list[str] = []
    for result in results:
        name = f"output.{result}" if result[0].isdigit() else result
        while name in inputs or name in names:
            name += "_out"
        names.append(name)
    return names


def _device(module: Any) -> Any:
    """Return the device of a module's parameters and buffers; None if it has none.

    Raises:
        InputError: they are on several devices.
    """
    devices = {t.device for part in (module.parameters(), module.buffers()) for t in part}
    if len(devices) > 1:
        raise InputError(f"module: expected it on one device, got {sorted(map(str, devices))}")
    return next(iter(devices), None)


class TorchModule(Generic[P, ResultT]):
    """An `Engine` with the arguments and results of a PyTorch module."""

    training = False
    """An engine is never in training mode."""

    def __init__(
        self,
        engine: Engine,
        call: Call,
        inputs: TreeSpec,
        outputs: TreeSpec,
        output_names: Sequence[str],
        frozen: Mapping[str, np.ndarray[Any, Any]],
    ) -> None:
        """Wrap an engine; see `from_torch`."""
        self.engine = engine
        """The engine that runs the module."""
        self._call, self._inputs, self._outputs = call, inputs, outputs
        plain = not inputs.constants and call.is_plain(inputs.names)
        self._plain = len(inputs.names) if plain else -1
        """The number of arguments if all are positional tensors, which are not matched; else -1."""
        place = {name: i for i, name in enumerate(inputs.tensors)}
        self._frozen = {place[name]: value for name, value in frozen.items()}
        # An exporter may drop an unused input.
        self._order = [place[spec.name] for spec in engine.inputs]
        outputs_by_name = {spec.name: i for i, spec in enumerate(engine.outputs)}
        self._results = [outputs_by_name[name] for name in output_names]

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        """Run the module once.

        Tensors on the engine's GPU are read in place, in the order of PyTorch's current stream, and
        results are on the GPU. For tensors in host memory, results are in host memory.

        Args:
            args: the positional arguments of ``forward``.
            kwargs: its keyword arguments. Arguments that are not tensors must be as in the example,
                and inputs that ``freeze`` has made constant must be tensors in host memory with
                that value.

        Returns:
            The results of ``forward``, in the same tuples, lists and dicts.

        Raises:
            InputError: an argument is invalid, or requires a gradient, which an engine cannot
                compute.
        """
        import torch

        tensors: Sequence[Any] = args
        if kwargs or len(args) != self._plain or not all(isinstance(a, torch.Tensor) for a in args):
            tensors = self._inputs.take(self._call.match(args, kwargs), "")
        for i in (*self._order, *self._frozen):
            if tensors[i].requires_grad and torch.is_grad_enabled():
                raise InputError(
                    f"{self._inputs.tensors[i]}: expected a tensor that requires no gradient, as "
                    "an engine computes none; call it under torch.no_grad() or with tensor.detach()"
                )
        for i, value in self._frozen.items():
            check_frozen(self._inputs.tensors[i], value, tensors[i])
        arrays = [to_array(tensors[i].detach()) for i in self._order]
        results = self.engine.infer(*arrays)
        if len(self.engine.outputs) == 1:
            results = (results,)
        return cast(ResultT, self._outputs.restore([to_tensor(results[i]) for i in self._results]))

    def eval(self) -> "TorchModule[P, ResultT]":
        """Return the module itself, as ``torch.nn.Module`` does."""
        return self

    def train(self, mode: bool = True) -> "TorchModule[P, ResultT]":
        """Return the module itself for ``mode=False``.

        Raises:
            InputError: ``mode`` is True.
        """
        if mode:
            raise InputError("train: an engine cannot be trained")
        return self

    def to(self, device: Any) -> "TorchModule[P, ResultT]":
        """Return the module itself if it is already on that device.

        Raises:
            InputError: it is another device, or a dtype.
        """
        import torch

        try:
            target = torch.device(device)
        except (RuntimeError, TypeError):
            raise InputError(f"to: expected the engine's device, got {device!r}") from None
        here = self.engine.device.split(",")[0]
        if target != torch.device(here) and str(target) != here.partition(":")[0]:
            raise InputError(
                f"to: the engine is on {self.engine.device} and stays there, got {device!r}"
            )
        return self

    def close(self) -> None:
        """Free the engine; see `Engine.close`."""
        self.engine.close()

    def __enter__(self) -> "TorchModule[P, ResultT]":
        """Return the module itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the engine."""
        self.close()

    def __repr__(self) -> str:
        """Show the engine."""
        return f"<fasttrt.TorchModule of {self.engine!r}>"
