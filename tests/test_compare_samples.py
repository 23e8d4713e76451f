"""Inputs that the caller gives: arrays, mappings, iterables, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt import InputError
from support import models
from support.perturbed import perturbing


def errors(proto: Any, inputs: Any) -> list[float | None]:
    """Of an engine that is 25 % off, so that errors tell which inputs were run."""
    found = fasttrt.compare(
        proto, inputs, engine=perturbing(proto.graph.output[0].name), bisect=False
    )
    assert found.seed is None
    assert not found.passed
    return [found.samples, found.outputs[0].max_abs_error]


def expected(made: models.Model, samples: Any) -> list[Any]:
    largest = max(np.abs(_first(made.reference(*sample))).max() for sample in samples)
    return [len(samples), pytest.approx(largest / 4, rel=1e-4)]


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def test_one_array_a_tuple_or_a_mapping_is_a_sample() -> None:
    made = models.mlp()
    x = made.inputs()
    for inputs in (x[0], x, {"x": x[0]}):
        assert errors(made.proto, inputs) == expected(made, [x])
    two = models.several()
    a, b = two.inputs()
    for both in ((a, b), {"b": b, "a": a}):
        assert errors(two.proto, both) == expected(two, [(a, b)])


class Tensor:
    """An array of a framework: iterable, and no numpy array."""

    def __init__(self, array: models.Array, *, on_gpu: bool = False) -> None:
        self.array, self.on_gpu = array, on_gpu

    def __array__(self, dtype: Any = None, copy: Any = None) -> models.Array:
        if self.on_gpu:
            raise TypeError("it is on the GPU")
        return self.array

    def __iter__(self) -> Any:
        return iter(self.array)


def test_arrays_of_frameworks_are_arrays() -> None:
    made = models.mlp()
    (x,) = made.inputs()
    assert errors(made.proto, Tensor(x)) == expected(made, [(x,)])
    assert errors(made.proto, [Tensor(x), Tensor(-x)]) == expected(made, [(x,), (-x,)])
    with pytest.raises(InputError, match="x: expected an array, got Tensor: "):
        fasttrt.compare(made.proto, Tensor(x, on_gpu=True), device="cpu")


def test_iterables_are_samples() -> None:
    made = models.several()
    samples = [made.inputs(batch=n) for n in (1, 2, 5)]
    assert errors(made.proto, samples) == expected(made, samples)
    named = ({"a": a, "b": b} for a, b in samples)
    assert errors(made.proto, named) == expected(made, samples)


def test_saved_files(tmp_path: Path) -> None:
    made = models.mlp()
    samples = [made.inputs(batch=n) for n in (3, 1, 4)]
    for i, (x,) in enumerate(samples):
        np.save(tmp_path / f"{i}.npy", x)
    (tmp_path / "notes.txt").write_text("ignored")
    assert errors(made.proto, tmp_path) == expected(made, samples)
    assert errors(made.proto, str(tmp_path / "1.npy")) == expected(made, samples[1:2])


def test_saved_archives(tmp_path: Path) -> None:
    made = models.several()
    samples = [made.inputs(batch=n) for n in (3, 1)]
    for i, (a, b) in enumerate(samples):
        np.savez(tmp_path / f"{i}.npz", a=a, b=b)
    assert errors(made.proto, tmp_path) == expected(made, samples)
    assert errors(made.proto, tmp_path / "0.npz") == expected(made, samples[:1])


def test_a_file_for_each_input(tmp_path: Path) -> None:
    made = models.several()
    a, b = made.inputs()
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    assert errors(made.proto, tmp_path) == expected(made, [(a, b)])


def test_types_that_numpy_saves_as_bytes_come_back(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    x, y = models.value("x", TensorProto.BFLOAT16, [6]), models.value("y", TensorProto.FLOAT, [6])
    made = models.Model(models.make(nodes, [x], [y]), lambda x: x.astype(np.float64))
    array = models.random_array(ml_dtypes.bfloat16, (6,))
    np.save(tmp_path / "x.npy", array)
    assert errors(made.proto, tmp_path / "x.npy") == expected(made, [(array,)])


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    two, one = models.several().proto, models.mlp().proto
    a, b = models.several().inputs()

    def refused(proto: Any, inputs: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            fasttrt.compare(proto, inputs, device="cpu")

    refused(two, a, r"inputs: expected 2 arrays \(a, b\), got 1")
    refused(two, [(a, b), (a,)], r"inputs, item 1: expected 2 arrays \(a, b\), got 1")
    refused(two, {"a": a}, r"^inputs: expected inputs named \['a', 'b'\], got \['a'\]")
    refused(
        one, [models.mlp().inputs(), {"z": a}], r"^inputs, item 1: .* named \['x'\], got \['z'\]"
    )
    refused(one, {"x": a, "z": a}, r"^inputs: expected inputs named \['x'\], got \['x', 'z'\]")
    np.savez(tmp_path / "z.npz", z=a)
    refused(one, tmp_path / "z.npz", r"^inputs, z.npz: .* named \['x'\], got \['z'\]")
    (tmp_path / "z.npz").unlink()
    refused(two, {"a": a.astype(np.float64), "b": b}, "a: expected dtype float32, got float64")
    refused(one, [], "expected at least one sample, got none")
    refused(one, tmp_path, "expected .npy or .npz files in .*, got none")
    np.save(tmp_path / "a.npy", a)
    refused(
        two, tmp_path / "a.npy", "contains one array, but the model has 2 inputs: use a .npz with"
    )
    (tmp_path / "x.npy").write_bytes(b"no array")
    refused(one, tmp_path / "x.npy", r"x\.npy cannot be read")
    (tmp_path / "x.npz").write_bytes(b"no archive")
    refused(one, tmp_path / "x.npz", r"x\.npz cannot be read")
    (tmp_path / "x.txt").write_text("1")
    refused(one, tmp_path / "x.txt", "expected a .npy or .npz file or a folder of them")
    np.save(tmp_path / "evil.npy", np.array([{}], object), allow_pickle=True)
    refused(one, tmp_path / "evil.npy", "cannot be read: .*allow_pickle")
    (tmp_path / "each").mkdir()
    np.save(tmp_path / "each" / "a.npy", a)
    np.save(tmp_path / "each" / "b.npy", np.array([{}], object), allow_pickle=True)
    refused(two, tmp_path / "each", r"b\.npy cannot be read: .*allow_pickle")
    with pytest.raises(fasttrt.MissingFileError):
        fasttrt.compare(one, tmp_path / "none.npy", device="cpu")
    with pytest.raises(InputError, match="ranges: only for random inputs"):
        fasttrt.compare(one, models.mlp().inputs(), ranges={"x": (0, 1)}, device="cpu")
    with pytest.raises(InputError, match="seed: only for random inputs"):
        fasttrt.compare(one, models.mlp().inputs(), seed=1, device="cpu")


def test_more_arrays_than_the_engine_takes_are_for_the_reference() -> None:
    """As where an input was made a constant of the engine's model."""
    whole = models.several()
    nodes = [
        helper.make_node("Cast", ["b"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "wide"], ["sum"]),
    ]
    fixed = models.make(
        nodes,
        [models.value("a", TensorProto.FLOAT, ["batch", 4])],
        [models.value("sum", TensorProto.FLOAT, ["batch", 4])],
        {"b": np.array([[5]], np.int32)},
    )
    a, b = whole.inputs()[0], np.full((3, 1), 5, np.int32)
    assert fasttrt.compare(fixed, {"a": a, "b": b}, against=whole.proto, device="cpu").passed
    assert not fasttrt.compare(
        fixed, {"a": a, "b": b + 1}, against=whole.proto, device="cpu"
    ).passed
    with pytest.raises(
        InputError, match=r"^inputs: expected inputs named \['a'\], got \['a', 'c'\]"
    ):
        fasttrt.compare(fixed, {"a": a, "b": b, "c": b}, against=whole.proto, device="cpu")
