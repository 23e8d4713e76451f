"""Random inputs: shapes from the profiles, values that the graph can take."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt import InputError
from fasttrt._accuracy.random_inputs import InputGenerator
from fasttrt._accuracy.value_ranges import default_range, integer_ranges
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.reference_backend import ReferenceBackend
from support import models
from support.randomness import new_rng

INT64, INT32, FLOAT = TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT
node, value = helper.make_node, models.value
TABLE = new_rng().standard_normal((11, 4)).astype(np.float32)


def lookup(*before: onnx.NodeProto, axis: int = 0) -> onnx.ModelProto:
    """The table's rows (or columns) at ``ids``, after the nodes that make ``at`` of them."""
    nodes = [*before, node("Gather", ["table", "at" if before else "ids"], ["y"], axis=axis)]
    ids, y = value("ids", INT64, ["batch", "n"]), value("y", FLOAT, ["a", "b", "c"])
    return models.make(nodes, [ids], [y], {"table": TABLE})


def branching() -> onnx.ModelProto:
    """Looks ``ids`` up in a table of 7 in one branch of an If, of 5 in the other."""
    branches = {}
    for name, rows in (("then", 7), ("else", 5)):
        table = numpy_helper.from_array(TABLE[:rows], f"{name}_table")
        rows_of = node("Gather", [f"{name}_table", "ids"], [f"{name}_y"])
        out = [value(f"{name}_y", FLOAT, ["n", 4])]
        branches[f"{name}_branch"] = helper.make_graph([rows_of], name, [], out, [table])
    inputs = [value("c", TensorProto.BOOL, []), value("ids", INT64, ["n"])]
    outputs = [value("y", FLOAT, ["n", 4])]
    return models.make([node("If", ["c"], ["y"], **branches)], inputs, outputs)


def one_hot() -> onnx.ModelProto:
    weights: dict[str, models.Array] = {
        "depth": np.array([9], np.int64),
        "values": np.array([0, 1], np.float32),
    }
    return models.make(
        [node("OneHot", ["ids", "depth", "values"], ["y"])],
        [value("ids", INT64, ["n"])], [value("y", FLOAT, ["n", 9])], weights,
    )  # fmt: skip


def elements() -> onnx.ModelProto:
    return models.make(
        [node("GatherElements", ["x", "ids"], ["y"], axis=1)],
        [value("x", FLOAT, ["n", 6]), value("ids", INT64, ["n", 6])],
        [value("y", FLOAT, ["n", 6])],
    )


MOVED = (
    node("Transpose", ["ids"], ["t"], perm=[1, 0]),
    node("Identity", ["t"], ["i"]),
    node("Concat", ["i", "i"], ["at"], axis=0),
)


@pytest.mark.parametrize(
    ("proto", "shapes", "most"),
    [
        (lookup(), {"ids": (8, 64)}, 11),
        (lookup(axis=1), {"ids": (8, 64)}, 4),
        (lookup(axis=-2), {"ids": (8, 64)}, 11),
        (lookup(node("Cast", ["ids"], ["at"], to=INT32)), {"ids": (8, 64)}, 11),
        (lookup(*MOVED), {"ids": (8, 64)}, 11),
        (branching(), {"ids": (300,)}, 5),
        (one_hot(), {"ids": (300,)}, 9),
        (elements(), dict.fromkeys(("x", "ids"), (64, 6)), 6),
    ],
    ids=["rows", "columns", "negative", "cast", "moved", "if", "onehot", "elements"],
)
def test_indices_stay_below_what_they_are_looked_up_in(
    proto: onnx.ModelProto, shapes: Any, most: int
) -> None:
    assert integer_ranges(proto) == {"ids": (0, most)}
    (feeds,) = draw(proto, 1, shapes)
    assert (feeds["ids"].min(), feeds["ids"].max()) == (0, most - 1)
    ReferenceBackend(OnnxModel(proto), None).run([*feeds.values()], None)


def test_where_nothing_is_known_integers_are_bits() -> None:
    assert integer_ranges(models.several().proto) == {}
    assert default_range(np.dtype(np.int64)) == default_range(np.dtype(bool)) == (0, 2)
    assert default_range(np.dtype(np.uint8)) == (0, 256)
    assert default_range(np.dtype(np.int8)) == (-128, 128)
    import ml_dtypes

    assert default_range(np.dtype(ml_dtypes.int4)) == (-8, 8)


def test_what_is_computed_from_is_no_index() -> None:
    """Only values that are moved as they are: x + 1 may well be beyond."""
    weights: dict[str, models.Array] = {"one": np.array(1, np.int64), "table": TABLE}
    nodes = [node("Add", ["ids", "one"], ["at"]), node("Gather", ["table", "at"], ["y"])]
    proto = models.make(nodes, [value("ids", INT64, ["n"])], [value("y", FLOAT, ["n", 4])], weights)
    assert integer_ranges(proto) == {}


def draw(
    proto: onnx.ModelProto, count: int, shapes: Any = None, ranges: Any = None, seed: int = 3
) -> list[dict[str, models.Array]]:
    model = OnnxModel(proto)
    specs = ReferenceBackend(model, shapes).inputs
    return list(InputGenerator(specs, model, ranges, seed).samples(count))


def test_the_same_seed_draws_the_same() -> None:
    made = models.several().proto
    first, second, third = (draw(made, 2, seed=seed) for seed in (5, 5, 6))
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a["a"], b["a"])
        assert not np.array_equal(a["a"], c["a"])
    assert not np.array_equal(first[0]["a"][:1], first[1]["a"][:1])


def test_profiles_take_turns() -> None:
    shapes = [
        {"a": ((1, 4), (3, 4), (8, 4)), "b": ((1, 1), (3, 1), (8, 1))},
        {"a": (9, 4), "b": (9, 1)},
    ]
    samples = draw(models.several().proto, 7, shapes)
    assert [len(sample["a"]) for sample in samples] == [3, 1, 8, 9, 9, 9, 3]
    assert [len(sample["b"]) for sample in samples] == [3, 1, 8, 9, 9, 9, 3]


def test_extents_named_after_batch_are_guessed_and_others_asked_for() -> None:
    assert draw(models.mlp().proto, 1)[0]["x"].shape == (8, 16)
    with pytest.raises(InputError, match=r'pass shapes=\{"x": '):
        draw(models.convolution().proto, 1)


def test_shape_tensors_get_their_profiles_values() -> None:
    shapes = {"x": ((1, 24), (2, 24), (4, 24)), "shape": ((1, 1), (6, 8), (48, 48))}
    samples = draw(models.reshape().proto, 1, shapes)
    assert samples[0]["shape"].tolist() == [6, 8]
    assert samples[0]["shape"].dtype == np.int64


def test_ranges_are_kept() -> None:
    (sample,) = draw(
        models.several().proto, 1, {"a": (500, 4), "b": (500, 1)}, {"a": (-0.5, 2), "b": (10, 13)}
    )
    a, b = sample["a"], sample["b"]
    assert a.dtype == np.float32
    assert -0.5 <= a.min() < -0.4
    assert 1.9 < a.max() <= 2
    assert sorted(set(b.ravel().tolist())) == [10, 11, 12]


def test_floats_are_normal() -> None:
    (sample,) = draw(models.mlp().proto, 1, {"x": (2000, 16)})
    assert abs(sample["x"].mean()) < 0.05
    assert abs(sample["x"].std() - 1) < 0.05


@pytest.mark.parametrize("dtype", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
def test_types_that_numpy_lacks_are_drawn(dtype: int) -> None:
    nodes = [node("Cast", ["x"], ["y"], to=FLOAT)]
    proto = models.make(
        nodes, [value("x", dtype, [50])], [value("y", FLOAT, [50])], opset=models.QUANTIZED_OPSET
    )
    (sample,) = draw(proto, 1)
    assert sample["x"].dtype == helper.tensor_dtype_to_np_dtype(dtype)
    assert sample["x"].astype(np.float32).std() > 0.5


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"z": (0, 1)}, "the model has no input 'z'; it has a, b"),
        ({"a": (1, 1)}, r"a: expected finite \(min, max\), max excluded, got \(1, 1\)"),
        ({"a": 3}, r"a: expected finite \(min, max\)"),
        ({"a": (0, float("inf"))}, r"a: expected finite \(min, max\), .*got \(0, inf\)"),
        ({"a": (float("nan"), 1)}, r"a: expected finite .*got \(nan, 1\)"),
        ({"a": "01"}, "a: expected finite .*got '01'"),
        ({"a": ("0", "1")}, r"a: expected finite .*got \('0', '1'\)"),
        ({"a": (True, "z")}, r"a: expected finite .*got \(True, 'z'\)"),
        ({"a": (0, 10**400)}, "a: expected finite"),
        (
            {"a": (1e39, 1e40)},
            r"a: expected numbers from -3.4.* for float32, got \(1e\+39, 1e\+40\)",
        ),
        (
            {"b": (0.5, 3)},
            r"b: expected integers from -2147483648 to 2147483648 for int32, got \(0.5, 3\)",
        ),
        ({"b": (0, 2**64)}, "b: expected integers from .* for int32"),
    ],
)
def test_wrong_ranges_are_refused(ranges: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw(models.several().proto, 1, None, ranges)


def test_a_range_too_wide_to_draw_from_is_refused() -> None:
    x, y = (value(name, TensorProto.DOUBLE, [3]) for name in "xy")
    proto = models.make([node("Neg", ["x"], ["y"])], [x], [y])
    with pytest.raises(InputError, match=r"x: expected a finite max - min, got \(-1e\+308, 1e"):
        draw(proto, 1, None, {"x": (-1e308, 1e308)})
    (sample,) = draw(proto, 1, None, {"x": (1e300, 1e308)})
    assert (sample["x"] > 1e300).all()


def test_strings_are_not_drawn() -> None:
    x, y = (value(name, TensorProto.STRING, [3]) for name in "xy")
    proto = models.make([node("Identity", ["x"], ["y"])], [x], [y])
    with pytest.raises(InputError, match=r"^x: random strings are not generated; pass inputs=$"):
        fasttrt.compare(proto, device="cpu")


def test_an_index_beyond_never_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT would read past the table's end; ONNX Runtime, which runs first, refuses."""
    runs: list[Any] = []
    with fasttrt.Engine(lookup(), device="cpu", shapes={"ids": (8, 8)}) as engine:
        run = engine._backend.run

        def noting(*given: Any) -> Any:
            runs.append(given)
            return run(*given)

        monkeypatch.setattr(engine._backend, "run", noting)
        assert fasttrt.compare(lookup(), engine=engine, samples=2).passed
        assert len(runs) == 2
        with pytest.raises(InputError, match="indices element out of data bounds") as caught:
            fasttrt.compare(lookup(), engine=engine, ranges={"ids": (11, 50)})
        assert "Pass ranges={name: (min, max)}" in str(caught.value)
        assert len(runs) == 2
