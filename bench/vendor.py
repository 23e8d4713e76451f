"""Inference through the vendor's own Python bindings, as its samples do it, to compare with."""

from __future__ import annotations

import importlib
from typing import Any

from measure import Contestant
from models import Array

PACKAGES = {"rtx": "tensorrt_rtx_bindings", "tensorrt": "tensorrt"}
_logger: Any = None  # one for the whole process: the libraries crashed with one that had gone


class Bindings:
    """A plan in an execution context of the bindings, for inputs of one shape."""

    def __init__(self, plan: Any, x: Array, *, graph: bool = False, eager: bool = True) -> None:
        """Load the plan, and compile the kernels for the shape at once, as fasttrt does.

        Args:
            plan: fasttrt's, of which the vendor's bytes are used.
            x: an input.
            graph: let TensorRT-RTX record and replay CUDA graphs.
            eager: compile TensorRT-RTX's kernels before the first run.
        """
        import torch

        global _logger
        family = plan.metadata.get("library", {}).get("family", "rtx")
        trt = importlib.import_module(PACKAGES[family])
        if _logger is None:
            _logger = trt.Logger(trt.Logger.ERROR)
        self.version = f"{trt.__name__} {trt.__version__}"
        torch.zeros(1, device="cuda")  # makes the device current
        self.runtime = trt.Runtime(_logger)
        self.engine = self.runtime.deserialize_cuda_engine(plan.data)
        if self.engine is None:
            raise RuntimeError(f"{self.version} refused the plan")
        if family == "rtx":
            config = self.engine.create_runtime_config()
            strategies = trt.DynamicShapesKernelSpecializationStrategy
            if eager:
                config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            if graph:
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self.context = self.engine.create_execution_context(runtime_config=config)
        else:
            self.context = self.engine.create_execution_context()
        if self.context is None:
            raise RuntimeError(f"{self.version} gave no execution context")
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        inputs = [
            name for name in names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        ]
        (x_name,) = inputs
        (y_name,) = (name for name in names if name not in inputs)
        self._require(self.context.set_input_shape(x_name, x.shape), "set_input_shape")
        dtype = torch.from_numpy(x).dtype
        self.x = torch.empty(x.shape, dtype=dtype, device="cuda")
        y_shape = tuple(self.context.get_tensor_shape(y_name))
        self.y = torch.empty(y_shape, dtype=dtype, device="cuda")  # our networks have one dtype
        self._require(self.context.set_tensor_address(x_name, self.x.data_ptr()), "x's address")
        self._require(self.context.set_tensor_address(y_name, self.y.data_ptr()), "y's address")
        self.stream = torch.cuda.Stream()
        self.handle = self.stream.cuda_stream
        torch.cuda.synchronize()

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise RuntimeError(f"{self.version}: {what} was refused")

    def execute(self) -> None:
        """Queue a run in the stream."""
        if not self.context.execute_async_v3(self.handle):
            raise RuntimeError(f"{self.version}: execute_async_v3 failed")

    def current(self) -> Any:
        """A ``with`` block whose torch copies go to the stream."""
        import torch

        return torch.cuda.stream(self.stream)

    def contestants(self, xs: list[Array], suffix: str = "") -> list[Contestant]:
        """Loops that copy in, execute, copy out and synchronize.

        Args:
            xs: the inputs.
            suffix: for the names.
        """
        import torch

        pinned = [torch.from_numpy(x).pin_memory() for x in xs]
        target = torch.empty(self.y.shape, dtype=self.y.dtype, pin_memory=True)
        x, y, stream, execute = self.x, self.y, self.stream, self.execute

        def with_torch(source: Any) -> None:
            x.copy_(source, non_blocking=True)
            execute()
            target.copy_(y, non_blocking=True)
            stream.synchronize()

        def pageable(source: Array) -> Array:
            x.copy_(torch.from_numpy(source))
            execute()
            result: Array = y.cpu().numpy()  # waits
            return result

        def read(result: Any, arguments: tuple[Any, ...]) -> Array:
            answer: Array = target.numpy().copy()
            target.zero_()  # so that none is taken for the next one
            return answer

        common: dict[str, Any] = {
            "graph": "yes" if suffix else "no", "wait": "CUDA's", "around": self.current,
        }  # fmt: skip
        name = f"bindings{suffix}"
        sources = [(source,) for source in pinned]
        found = [
            Contestant(f"{name}, pinned, torch's copy_", with_torch, sources, read, **common),
            Contestant(f"{name}, pageable, torch's copy_", pageable, [(x,) for x in xs], **common),
        ]
        try:
            cuda = importlib.import_module("cuda.bindings.runtime")
        except ImportError as problem:
            print(f"no loop with cudaMemcpyAsync, as cuda-python is missing: {problem}")
            return found
        copy, synchronize = cuda.cudaMemcpyAsync, cuda.cudaStreamSynchronize
        queue, success = cuda.cudaStream_t(self.handle), cuda.cudaError_t.cudaSuccess
        to_device = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        to_host = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        x_data, y_data, target_data = x.data_ptr(), y.data_ptr(), target.data_ptr()
        x_bytes, y_bytes = x.nbytes, y.nbytes

        def with_cuda(source: int, _owner: Any) -> None:
            copy(x_data, source, x_bytes, to_device, queue)
            execute()
            copy(target_data, y_data, y_bytes, to_host, queue)
            (status,) = synchronize(queue)
            if status != success:
                raise RuntimeError(f"cudaStreamSynchronize: {status}")

        addresses = [(source.data_ptr(), source) for source in pinned]
        found.append(
            Contestant(f"{name}, pinned, cudaMemcpyAsync", with_cuda, addresses, read, **common)
        )
        return found


def baseline(medians: dict[str, float]) -> tuple[str, float] | None:
    """The best of the bindings' loops with pinned buffers and without graphs: the targets' base."""
    found = [
        (median, name) for name, median in medians.items() if name.startswith("bindings, pinned")
    ]
    return min(found)[::-1] if found else None
