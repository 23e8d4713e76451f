"""The ONNX project's node tests, on disk as its package ships or makes them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.backend.test
from onnx import numpy_helper

Array = npt.NDArray[Any]

# The ONNX test runner's own tolerances.
RTOL = 1e-3
ATOL = 1e-7


@dataclass(frozen=True)
class Case:
    """One node test: a model, inputs, and the outputs expected of it."""

    folder: Path

    @property
    def name(self) -> str:
        """Without the ``test_`` that all begin with."""
        return self.folder.name.removeprefix("test_")

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The model."""
        return onnx.load(self.folder / "model.onnx")

    @property
    def digest(self) -> str:
        """Of what the model computes, to tell whether two releases of ONNX mean the same test."""
        graph = self.model.graph.SerializeToString(deterministic=True)
        opsets = "".join(str(opset) for opset in self.model.opset_import)
        return hashlib.sha256(graph + opsets.encode()).hexdigest()[:12]

    @property
    def operator(self) -> str:
        """The operator that is tested.

        Of a test whose model is a function's body, the one whose body it is.
        """
        base = re.sub(r"_expanded.*$", "", self.folder.name)
        model = Case(self.folder.parent / base).model if base != self.folder.name else self.model
        nodes = [node.op_type for node in model.graph.node]
        flat = base.replace("_", "")
        named = [operator for operator in nodes if flat.startswith(f"test{operator.lower()}")]
        return str(max(named, key=len, default=nodes[0]))

    def inputs(self) -> dict[str, Array]:
        """Arrays by name."""
        return self._arrays("input", [value.name for value in self.model.graph.input])

    def outputs(self) -> dict[str, Array]:
        """What is expected."""
        return self._arrays("output", [value.name for value in self.model.graph.output])

    def _arrays(self, kind: str, names: list[str]) -> dict[str, Array]:
        declared = {v.name: v for v in (*self.model.graph.input, *self.model.graph.output)}
        arrays = {}
        for i, name in enumerate(names):
            if declared[name].type.HasField("tensor_type"):
                content = (self.folder / "test_data_set_0" / f"{kind}_{i}.pb").read_bytes()
                arrays[name] = numpy_helper.to_array(onnx.TensorProto.FromString(content))
        return arrays

    @property
    def is_random(self) -> bool:
        """Whether the results are random, and those of the case just an example."""
        return self.operator in ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform")


def read_cases(folder: Path) -> list[Case]:
    """All node tests of a folder."""
    return [Case(path.parent) for path in sorted(folder.glob("test_*/model.onnx"))]


def find_cases(source: Path | None, scratch: Path) -> tuple[Path, str]:
    """The folder with the node tests, and the release of ONNX that they are of.

    Args:
        source: a folder of them (its name is then given for the release), or a wheel of ONNX, which
            is unpacked into ``scratch``. None: of the installed package, which ships them up to
            1.22 and makes them from 1.23 on.
        scratch: an empty folder.
    """
    if source is not None and source.suffix == ".whl":
        with zipfile.ZipFile(source) as wheel:
            names = [name for name in wheel.namelist() if "backend/test/data/node/" in name]
            wheel.extractall(scratch, names)
        return scratch / "onnx/backend/test/data/node", source.name.split("-")[1]
    if source is not None:
        return source, source.name
    shipped = Path(onnx.backend.test.__file__).parent / "data/node"
    if shipped.is_dir():
        return shipped, onnx.__version__
    # In a process of its own: making them warns of what it does on purpose.
    code = "import sys; from conformance.cases import make_cases; make_cases(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, scratch],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
    )
    return scratch, onnx.__version__


def make_cases(folder: str) -> None:
    """Write the node tests of the installed ONNX as its packages up to 1.22 have them.

    Of inputs and outputs only tensors are written: `Case` reads no others.
    """
    from onnx.backend.test.loader import load_node_model_tests

    for case in load_node_model_tests():
        assert case.model is not None
        assert case.data_sets is not None
        data = Path(folder) / case.name / "test_data_set_0"
        data.mkdir(parents=True)
        (data.parent / "model.onnx").write_bytes(case.model.SerializeToString())
        for kind, values in zip(("input", "output"), case.data_sets[0], strict=True):
            for i, value in enumerate(values):
                if isinstance(value, (np.ndarray, np.generic)):
                    value = numpy_helper.from_array(np.asarray(value))
                if isinstance(value, onnx.TensorProto):
                    (data / f"{kind}_{i}.pb").write_bytes(value.SerializeToString())


def tolerance(expected: Array) -> tuple[float, float]:
    """Relative and absolute; of integers and booleans none.

    ONNX's own runner asks for 1e-3 and 1e-7. That is less than a step of the coarser types, and
    less than what rounding leaves of terms that cancel each other, which is in proportion to the
    largest value: of float32, eight steps of that are allowed, of coarser types one. Float64 is
    computed as float32.
    """
    ml_dtypes: Any = import_module("ml_dtypes")  # untyped
    if expected.dtype.kind in "biu" or expected.dtype.name in ("int4", "uint4", "int2", "uint2"):
        return 0.0, 0.0
    single = float(np.finfo(np.float32).eps)
    step = max(float(ml_dtypes.finfo(expected.dtype).eps), single)
    wide = np.abs(expected.astype(np.float64))
    largest = float(wide[np.isfinite(wide)].max(initial=0))
    steps = 8 if step == single else 1
    return max(RTOL, 2 * step), max(ATOL, steps * step * largest)


def difference(actual: Any, expected: Array, is_random: bool = False) -> str:
    """What is wrong with a result; empty if it is right. Of random ones only the type counts."""
    actual = np.asarray(actual)
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        got = f"{actual.dtype}{list(actual.shape)}"
        return f"expected {expected.dtype}{list(expected.shape)}, got {got}"
    if is_random:
        return ""
    rtol, atol = tolerance(expected)
    wide_actual, wide = actual.astype(np.float64), expected.astype(np.float64)
    is_close = np.isclose(wide_actual, wide, rtol, atol, equal_nan=True)
    if is_close.all():
        return ""
    with np.errstate(invalid="ignore"):
        distance = np.where(is_close, 0, np.abs(wide_actual - wide))
    worst = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
    return (
        f"{np.count_nonzero(~is_close)} of {expected.size} values are wrong, at worst "
        f"{wide_actual.ravel()[worst]:.7g} for {wide.ravel()[worst]:.7g}"
    )
