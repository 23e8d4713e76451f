"""Inference through the vendor's own Python bindings, as its samples do it, to compare with."""

from __future__ import annotations

import importlib
from typing import Any

from measure import Contestant, LeftOutError
from models import Array, Arrays
from subject import Subject

PACKAGES = {"rtx": "tensorrt_rtx_bindings", "tensorrt": "tensorrt"}
_logger: Any = None  # one for the whole process: the libraries crashed with one that had gone


class Bindings:
    """A plan in an execution context of the bindings, for inputs of some shapes."""

    def __init__(self, subject: Subject, *, graph: bool = False, eager: bool = True) -> None:
        """Load the plan, and compile the kernels for the shapes at once, as fasttrt does.

        Args:
            subject: with fasttrt's plan, of which the vendor's bytes are used.
            graph: let TensorRT-RTX record and replay CUDA graphs.
            eager: compile TensorRT-RTX's kernels before the first run.

        Raises:
            ImportError: there are no bindings.
            LeftOutError: they cannot do the same.
        """
        import torch

        global _logger
        plan: Any = subject.plan
        family = plan.metadata.get("library", {}).get("family", "rtx")
        trt = importlib.import_module(PACKAGES[family])
        if _logger is None:
            _logger = trt.Logger(trt.Logger.ERROR)
        self.version = f"{trt.__name__} {trt.__version__}"
        if graph and family != "rtx":
            raise LeftOutError(f"{self.version} has no strategy for graphs")
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
        specs = (*subject.engine.inputs, *subject.engine.outputs)
        if converted := [spec.name for spec in specs if spec.converted]:
            raise LeftOutError(f"{', '.join(converted)}: fasttrt converts values, they do not")
        self.stream = torch.cuda.Stream()
        self.handle = self.stream.cuda_stream
        self._choose_profile(subject)
        for spec, x in zip(subject.engine.inputs, subject.xs[0], strict=True):
            self._require(self.context.set_input_shape(spec.name, x.shape), "set_input_shape")
        self.xs = tuple(torch.from_numpy(x).cuda() for x in subject.xs[0])
        self.ys = tuple(torch.from_numpy(y).cuda() for y in subject.targets()[0])
        for spec, y in zip(subject.engine.outputs, self.ys, strict=True):
            if (shape := tuple(self.context.get_tensor_shape(spec.name))) != tuple(y.shape):
                raise LeftOutError(f"{self.version} only knows the shape {shape} of {spec.name}")
        for spec, tensor in zip(specs, (*self.xs, *self.ys), strict=True):
            done = self.context.set_tensor_address(spec.name, tensor.data_ptr())
            self._require(done, f"{spec.name}'s address")
        torch.cuda.synchronize()

    def _choose_profile(self, subject: Subject) -> None:
        """One for the inputs' shapes alone if there is one, as fasttrt does; else the first."""
        shapes = {
            s.name: x.shape for s, x in zip(subject.engine.inputs, subject.xs[0], strict=True)
        }
        for profile in range(self.engine.num_optimization_profiles):
            ranges = [self.engine.get_tensor_profile_shape(name, profile) for name in shapes]
            extents = [(tuple(least), tuple(most)) for least, _, most in ranges]
            if profile and extents == [(shape, shape) for shape in shapes.values()]:
                done = self.context.set_optimization_profile_async(profile, self.handle)
                self._require(done, f"profile {profile}")
                self.stream.synchronize()
                return

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

    def contestants(self, sets: list[Arrays], suffix: str = "") -> list[Contestant]:
        """Loops that copy in, execute, copy out and synchronize.

        Args:
            sets: of inputs.
            suffix: for the names.
        """
        import torch

        pinned = [tuple(torch.from_numpy(x).pin_memory() for x in xs) for xs in sets]
        targets = [torch.empty(y.shape, dtype=y.dtype, pin_memory=True) for y in self.ys]
        stream, execute = self.stream, self.execute
        down = list(zip(targets, self.ys, strict=True))

        def with_torch(up: Any) -> None:
            for x, source in up:
                x.copy_(source, non_blocking=True)
            execute()
            for target, y in down:
                target.copy_(y, non_blocking=True)
            stream.synchronize()

        def pageable(*sources: Array) -> list[Array]:
            for x, source in zip(self.xs, sources, strict=True):
                x.copy_(torch.from_numpy(source))
            execute()
            return [y.cpu().numpy() for y in self.ys]  # waits

        def read(result: Any, arguments: tuple[Any, ...]) -> list[Array]:
            answers = [target.numpy().copy() for target in targets]
            for target in targets:
                target.zero_()  # so that none is taken for the next one
            return answers

        buffers = tuple(torch.from_numpy(x).pin_memory() for x in sets[0])

        def staged(run: Any, *up: Any) -> Any:
            """A call from numpy to numpy, by way of page-locked buffers."""
            inputs, outputs = [b.numpy() for b in buffers], [t.numpy() for t in targets]

            def call(*sources: Array) -> list[Array]:
                for buffer, source in zip(inputs, sources, strict=True):
                    buffer[...] = source
                run(*up)
                return [output.copy() for output in outputs]

            return call

        common: dict[str, Any] = {
            "graph": "yes" if suffix else "no", "wait": "CUDA's", "around": self.current,
        }  # fmt: skip
        name = f"bindings{suffix}"
        ups = [(list(zip(self.xs, sources, strict=True)),) for sources in pinned]
        found = [
            Contestant(f"{name}, pinned, torch's copy_", with_torch, ups, read, **common),
            Contestant(f"{name}, pageable, torch's copy_", pageable, sets, **common),
            Contestant(
                f"{name}, staged, torch's copy_",
                staged(with_torch, list(zip(self.xs, buffers, strict=True))), sets, **common,
            ),
        ]  # fmt: skip
        try:
            cuda = importlib.import_module("cuda.bindings.runtime")
        except ImportError as problem:
            print(f"no loop with cudaMemcpyAsync, as cuda-python is missing: {problem}")
            return found
        copy, synchronize = cuda.cudaMemcpyAsync, cuda.cudaStreamSynchronize
        queue, success = cuda.cudaStream_t(self.handle), cuda.cudaError_t.cudaSuccess
        to_device = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        to_host = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        back = [(target.data_ptr(), y.data_ptr(), y.nbytes) for target, y in down]

        def with_cuda(up: Any, _owners: Any) -> None:
            for target, source, size in up:
                copy(target, source, size, to_device, queue)
            execute()
            for target, source, size in back:
                copy(target, source, size, to_host, queue)
            (status,) = synchronize(queue)
            if status != success:
                raise RuntimeError(f"cudaStreamSynchronize: {status}")

        def addresses(hosts: Any) -> Any:
            pairs = zip(self.xs, hosts, strict=True)
            return [(x.data_ptr(), host.data_ptr(), host.nbytes) for x, host in pairs], hosts

        ups = [addresses(hosts) for hosts in pinned]
        call = staged(with_cuda, *addresses(buffers))
        found += [
            Contestant(f"{name}, pinned, cudaMemcpyAsync", with_cuda, ups, read, **common),
            Contestant(f"{name}, staged, cudaMemcpyAsync", call, sets, **common),
        ]
        return found


def baseline(medians: dict[str, float]) -> tuple[str, float] | None:
    """The best of the bindings' loops with pinned buffers and without graphs: the targets' base."""
    found = [
        (median, name) for name, median in medians.items() if name.startswith("bindings, pinned")
    ]
    return min(found)[::-1] if found else None
