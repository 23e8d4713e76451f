"""The reference backend: ONNX Runtime on the CPU, behind the same interface as TensorRT."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt.errors import Error, InputError, LibraryNotFoundError, ParseError, ParseIssue
from fasttrt.model import DeclaredTensor, OnnxModel
from fasttrt.shapes import NetworkInput, Shapes, check_profile
from fasttrt.spec import Range, TensorSpec, merge_profiles

if TYPE_CHECKING:
    pass


class ReferenceBackend:
    """Runs a model on the CPU. Slow next to a GPU, and what TensorRT's answers are compared with.

    Extents are limited only where ``shapes`` gives a range; profiles cost nothing here.
    """

    def __init__(self, model: OnnxModel, shapes: Shapes | None) -> None:
        """Load the model.

        Raises:
            LibraryNotFoundError: if ONNX Runtime is not installed.
            ParseError: if it cannot load the model.
            InputError: if ``shapes`` does not fit the model.
        """
        try:
            import onnxruntime
        except ImportError:
            raise LibraryNotFoundError(
                'device="cpu" needs ONNX Runtime: pip install onnxruntime (or fasttrt[cpu])'
            ) from None
        profiles = _profiles(model.inputs, shapes)
        self.inputs = tuple(
            _spec(t, [p[t.name] for p in profiles if t.name in p]) for t in model.inputs
        )
        self.outputs = tuple(_spec(tensor, []) for tensor in model.outputs)
        source = os.fspath(model.path) if model.path is not None else model.to_bytes()
        try:
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                source, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of classes that ONNX Runtime does not export
            issue = ParseIssue(-1, "", "", str(error))
            raise ParseError("ONNX Runtime cannot load the model", (issue,)) from error

    def run(
        self, arrays: Sequence[Any], out: Sequence[np.ndarray[Any, Any] | None] | None
    ) -> list[np.ndarray[Any, Any]]:
        """Run once; see `Engine.infer`."""
        session = self._session
        if session is None:
            raise Error("the engine is closed")
        feeds = {
            spec.name: _checked(spec, array)
            for spec, array in zip(self.inputs, arrays, strict=True)
        }
        try:
            results = session.run(None, feeds)
        except Exception as error:
            raise InputError(f"ONNX Runtime refused the inputs: {error}") from error
        return [
            _deliver(spec, np.asarray(result), None if out is None else out[i])
            for i, (spec, result) in enumerate(zip(self.outputs, results, strict=True))
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """There is no plan to save.

        Raises:
            Error: always.
        """
        raise Error("an engine on the CPU has no plan to save; build one with fasttrt.build()")

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _profiles(inputs: Sequence[DeclaredTensor], shapes: Shapes | None) -> list[dict[str, Range]]:
    if shapes is None:
        return []
    network = [
        NetworkInput(t.name, str(t.dtype), _extents(t), ("",) * len(_extents(t)), False)
        for t in inputs
    ]
    given = [shapes] if isinstance(shapes, Mapping) else shapes
    return [check_profile(network, profile) for profile in given]


def _extents(tensor: DeclaredTensor) -> tuple[int, ...]:
    return tuple(extent if isinstance(extent, int) else -1 for extent in tensor.shape or ())


def _spec(tensor: DeclaredTensor, ranges: list[Range]) -> TensorSpec:
    least, best, most = merge_profiles(tuple(ranges))
    return TensorSpec(tensor.name, tensor.dtype, _extents(tensor), least, best, most, tuple(ranges))


def _checked(spec: TensorSpec, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype != spec.dtype:
        raise InputError(f"{spec.name}: expected dtype {spec.dtype}, got {array.dtype}")
    fits = len(array.shape) == len(spec.shape) and all(
        expected in (-1, got) for expected, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{spec.name}: expected shape {spec.shape} (-1 is any), got {array.shape}")
    if spec.profiles and not any(_within(array.shape, range_) for range_ in spec.profiles):
        ranges = "; or ".join(f"min {a}, opt {b}, max {c}" for a, b, c in spec.profiles)
        raise InputError(f"{spec.name}: expected shape {ranges}, got {array.shape}")
    return np.asarray(array, order="C")


def _within(shape: tuple[int, ...], range_: Range) -> bool:
    least, _, most = range_
    return all(a <= e <= b for a, e, b in zip(least, shape, most, strict=True))


def _deliver(
    spec: TensorSpec, result: np.ndarray[Any, Any], out: np.ndarray[Any, Any] | None
) -> np.ndarray[Any, Any]:
    if out is None:
        return result
    if out.dtype != result.dtype or out.shape != result.shape:
        raise InputError(
            f"{spec.name}: out= must have dtype {result.dtype} and shape {result.shape}, "
            f"got {out.dtype} and {out.shape}"
        )
    np.copyto(out, result)
    return out
