"""`Predictor` on batches as Ray gives them, in this process; on the CPU backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import fasttrt
from support import models
from support.assertions import close_to
from support.randomness import new_rng

ray = pytest.importorskip("ray", reason="Ray is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("ray.data", reason="Ray Data is not installed")

import fasttrt.ray as fasttrt_ray  # noqa: E402

Open = Callable[..., "fasttrt_ray.Predictor"]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens predictors, which are closed at the end."""
    predictors = []

    def open_predictor(model: Any, **options: Any) -> fasttrt_ray.Predictor:
        predictors.append(fasttrt_ray.Predictor(model, **{"device": "cpu"} | options))
        return predictors[-1]

    yield open_predictor
    for predictor in predictors:
        predictor.close()


def model_of(
    nodes: list[Any], x: tuple[int, list[Any]], y: tuple[int, list[Any]], **given: Any
) -> bytes:
    """The bytes of a model from x to y, each of a type and a shape."""
    proto = models.make(nodes, [models.value("x", *x)], [models.value("y", *y)], given or None)
    return bytes(proto.SerializeToString())


def identity(dtype: int) -> bytes:
    """A model whose y is x, of one type."""
    shape = ["batch", 3]
    return model_of([helper.make_node("Identity", ["x"], ["y"])], (dtype, shape), (dtype, shape))


def objects(values: Any) -> Any:
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column


@pytest.mark.parametrize(
    "shapes", [None, {"x": ((1, 16), (8, 16), (8, 16))}, {"x": ((6, 16), (8, 16), (8, 16))}]
)
@pytest.mark.parametrize("rows", [0, 1, 8, 21])
def test_any_number_of_rows(rows: int, shapes: Any, opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=rows)
    x.flags.writeable = False
    found = opened(mlp_model.to_bytes(), shapes=shapes)({"x": x, "id": np.arange(rows)})
    assert list(found) == ["id", "y"]
    assert found["y"].shape == (rows, 8)
    assert found["y"] == close_to(mlp_model.reference(x))
    np.testing.assert_array_equal(found["id"], np.arange(rows))


def test_a_fixed_batch(opened: Open) -> None:
    model = models.mlp(batch=4)
    (x,) = models.mlp().inputs(batch=10)
    assert opened(model.to_bytes())({"x": x})["y"] == close_to(model.reference(x))


def test_lists_as_parquet_has_them(opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=9)
    found = opened(mlp_model.to_bytes())({"x": objects(x)})
    assert found["y"] == close_to(mlp_model.reference(x))
    images = new_rng().standard_normal((5, 4, 6, 6)).astype(np.float32)
    convolution = models.convolution()
    nested = objects([objects([objects(list(row)) for row in image]) for image in images])
    found = opened(convolution.to_bytes())({"x": nested})
    assert found["y"] == close_to(convolution.reference(images))


def test_images_of_several_sizes(opened: Open) -> None:
    model = models.convolution()
    images = [
        new_rng().standard_normal((4, *size)).astype(np.float32)
        for size in ((6, 6), (5, 8), (6, 6), (7, 7))
    ]
    found = opened(model.to_bytes())({"x": objects(images)})
    for image, y in zip(images, found["y"], strict=True):
        assert y == close_to(model.reference(image[None])[0])


@pytest.mark.parametrize(
    ("dtype", "column", "result"),
    [
        (TensorProto.FLOAT16, "float16", "float16"),
        (TensorProto.BFLOAT16, "float16", None),
        (TensorProto.BOOL, "bool", "bool"),
        (TensorProto.INT8, "int8", "int8"),
        (TensorProto.UINT8, "uint8", "uint8"),
        (TensorProto.INT64, "int32", "int64"),
        (TensorProto.DOUBLE, "float32", "float64"),
    ],
)
def test_types(dtype: int, column: str, result: str | None, opened: Open) -> None:
    x = models.random_array(column, (5, 3))
    predictor = opened(identity(dtype))
    if result is None:
        with pytest.raises(fasttrt.InputError, match="row 0 of the batch: x: cannot cast float16"):
            predictor({"x": x})
        return
    y = predictor({"x": x})["y"]
    assert y.dtype == result
    np.testing.assert_array_equal(y, x)


def test_bfloat16_comes_back_as_float32(opened: Open) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)]
    model = model_of(nodes, (TensorProto.FLOAT, ["n", 3]), (TensorProto.BFLOAT16, ["n", 3]))
    x = models.random_array("float32", (300, 3))
    y = opened(model)({"x": x})["y"]
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, x, rtol=1 / 128)


def test_text(opened: Open) -> None:
    x = objects(["a", "some text\0", "", "b"])
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = model_of(nodes, (TensorProto.STRING, ["n"]), (TensorProto.STRING, ["n"]))
    predictor = opened(model)
    assert predictor({"x": x})["y"].tolist() == x.tolist()
    for wrong in (None, 5):
        text = f"row 1 of the batch: x: expected text, got {type(wrong).__name__}"
        with pytest.raises(fasttrt.InputError, match=text):
            predictor({"x": objects(["a", wrong])})


@pytest.mark.parametrize("values", [["a", "b"], ["a", None], [None, None], []], ids=str)
def test_results_of_text_stay_text(values: list[Any], opened: Open) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = model_of(nodes, (TensorProto.STRING, ["n"]), (TensorProto.STRING, ["n"]))
    found: Any = opened(model, errors="problem")(pa.table({"x": pa.array(values, pa.string())}))
    assert found["y"].type == pa.string()
    assert found["y"].to_pylist() == [value or "" for value in values]
    assert found["problem"].type == pa.string()


def test_bad_rows_are_named(opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=4)
    paths = objects(["a.png", "b.png", "c.png", "d.png"])
    predictor = opened(mlp_model.to_bytes())
    for value, problem in [
        (x[2][:-1], r"x: expected .*, got \(1, 15\)"),
        (None, "x: expected an array of numbers, got NoneType"),
        (objects([1.0, None]), "x: expected an array of numbers, got NoneType"),
        ("text", "x: "),
    ]:
        column = objects(x)
        column[2] = value
        about = r"row 2 of the batch \(id=12, path='c.png'\): "
        with pytest.raises(fasttrt.InputError, match=about + problem):
            predictor({"x": column, "id": np.arange(10, 14), "path": paths})
    table = pa.table({"x": [*x[:2].tolist(), None, None], "id": range(10, 14), "path": paths})
    with pytest.raises(fasttrt.InputError, match=about + r"x: expected an array of numbers"):
        opened(mlp_model.to_bytes(), cast="lossy")(table)
    assert predictor({"x": x})["y"] == close_to(mlp_model.reference(x))


def test_tables_stay_tables(opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=4)
    kept = {"id": [1, None, 2**60, 4], "tags": [["a"], [], ["b", "c"], None]}
    floats = pa.array(x.tolist(), pa.list_(pa.float32()))
    table = pa.table({"x": floats, **kept})
    for part in (table, table.slice(1, 2), table.slice(0, 0)):
        found: Any = opened(mlp_model.to_bytes(), errors="problem")(part)
        assert found.column_names == ["id", "tags", "y", "problem"]
        assert found.select(["id", "tags"]) == part.drop_columns("x")
        assert len(found["y"]) == len(part)
    y = [value.as_py() for value in opened(mlp_model.to_bytes())(table)["y"]]
    assert np.stack(y) == close_to(mlp_model.reference(x))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(TensorProto.STRING, ["cat", None, "dog", "cat"]), (TensorProto.INT64, [7, None, 9, 7])],
)
def test_nulls_of_dictionaries_are_bad_rows(dtype: int, values: list[Any], opened: Open) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    predictor = opened(model_of(nodes, (dtype, ["n"]), (dtype, ["n"])), errors="problem")
    table = pa.table({"x": pa.array(values).dictionary_encode(), "id": range(4)})
    found: Any = predictor(pa.concat_tables([table, table.slice(2)]))
    y, problems = found["y"].to_pylist(), found["problem"].to_pylist()
    assert [y[i] for i in (0, 2, 3, 4, 5)] == [values[i] for i in (0, 2, 3, 2, 3)]
    assert [i for i, text in enumerate(problems) if text] == [1]


def test_a_null_among_integers_changes_no_other_row(opened: Open) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    big = 2**53 + 1
    cases: list[tuple[list[Any], list[Any]]] = [
        (["n"], [big, None, 1]),
        (["n", 2], [[big, 1], [3, None], [1, 2]]),
    ]
    for shape, rows in cases:
        model = model_of(nodes, (TensorProto.INT64, shape), (TensorProto.INT64, shape))
        table = pa.table({"x": rows, "id": [5, 6, 7]})
        for cast in (True, "lossy"):
            found: Any = opened(model, errors="problem", cast=cast)(table)
            np.testing.assert_array_equal(found["y"].to_pylist()[::2], rows[::2])
            null = "x: expected an array of numbers, got NoneType"
            assert found["problem"].to_pylist() == ["", null, ""]
        with pytest.raises(fasttrt.InputError, match=r"row 1 of the batch \(id=6\): x: expected"):
            opened(model)(table)
    double = model_of(nodes, (TensorProto.DOUBLE, ["n"]), (TensorProto.DOUBLE, ["n"]))
    found = opened(double, errors="problem")(pa.table({"x": [big, None]}))
    assert found["problem"].to_pylist()[0].startswith("x: cannot cast int64 to float64")
    found = opened(double)(pa.table({"x": [1.5, None]}))
    np.testing.assert_array_equal(found["y"], [1.5, np.nan])


def test_errors_of_rows_are_kept(opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=5)
    column = objects(x)
    column[1], column[3] = None, x[3][:-1]
    found = opened(mlp_model.to_bytes(), errors="problem")({"x": column})
    assert [bool(problem) for problem in found["problem"]] == [False, True, False, True, False]
    good = [0, 2, 4]
    assert found["y"][good] == close_to(mlp_model.reference(x[good]))
    assert np.isnan(found["y"][[1, 3]]).all()


@pytest.mark.parametrize("shapes", [None, {"x": ((1,), (4,), (4,))}], ids=["whole", "in pieces"])
def test_a_row_that_fails_in_the_model(shapes: Any, opened: Open) -> None:
    table = new_rng().standard_normal((10, 3)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    model = model_of(
        nodes, (TensorProto.INT64, ["n"]), (TensorProto.FLOAT, ["n", 3]), table=table
    )  # fmt: skip
    x = new_rng().integers(0, 10, 11)
    x[6] = 99
    with pytest.raises(fasttrt.Error, match=r"row 6 of the batch: (.|\n)*99"):
        opened(model, shapes=shapes)({"x": x})
    found = opened(model, shapes=shapes, errors="problem")({"x": x})
    assert [i for i, problem in enumerate(found["problem"]) if problem] == [6]
    good = np.delete(np.arange(11), 6)
    np.testing.assert_array_equal(found["y"][good], table[x[good]])


def test_what_is_no_rows_fault_is_no_rows_error(opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=5)
    predictor = opened(mlp_model.to_bytes(), errors="problem")
    predictor.close()
    with pytest.raises(fasttrt.Error, match=r"^the engine is closed"):
        predictor({"x": x})


def test_columns_never_replace_others(opened: Open, mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=3)
    predictor = opened(mlp_model.to_bytes(), errors="problem")
    for name, kind in [("y", "outputs"), ("problem", "errors")]:
        text = f"{kind}: the rows have a column '{name}' already"
        with pytest.raises(fasttrt.InputError, match=text):
            predictor({"x": x, name: np.arange(3)})
    with pytest.raises(fasttrt.InputError, match="errors: 'y' is the column of an output"):
        opened(mlp_model.to_bytes(), errors="y")
    same = opened(mlp_model.to_bytes(), outputs={"y": "x"})({"x": x})
    assert list(same) == ["x"]
    assert same["x"] == close_to(mlp_model.reference(x))


def test_what_is_no_batch(opened: Open, mlp_model: models.Model) -> None:
    predictor = opened(mlp_model.to_bytes())
    with pytest.raises(fasttrt.InputError, match=r"expected a column 'x', got \['z'\]"):
        predictor({"z": np.ones(3)})
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([1.0])], names=["x", "x"])
    with pytest.raises(fasttrt.InputError, match=r"expected one column 'x', got \['x', 'x'\]"):
        predictor(twice)
    wrong: Any = np.ones(3)
    with pytest.raises(fasttrt.InputError, match=r"expected a batch of .* got ndarray"):
        predictor(wrong)


def test_columns_of_different_lengths(opened: Open) -> None:
    shape: list[Any] = ["n", 2]
    proto = models.make(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [models.value(name, TensorProto.FLOAT, shape) for name in "ab"],
        [models.value("y", TensorProto.FLOAT, shape)],
    )
    predictor = opened(proto.SerializeToString(), errors="problem")
    a, b, scalar = np.ones((3, 2), np.float32), np.ones((5, 2), np.float32), np.float32(1)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"a": a, "b": b}, "b: expected 3 rows as in 'a', got 5"),
        ({"b": a, "a": b}, "b: expected 5 rows as in 'a', got 3"),
        ({"id": np.arange(4), "a": a, "b": a}, "id: expected 3 rows as in 'a', got 4"),
        ({"a": scalar, "b": a}, "a: expected an array of rows, got a scalar"),
        ({"a": a, "b": a, "id": np.array(1)}, "id: expected an array of rows, got a scalar"),
    ]
    for batch, problem in wrong:
        with pytest.raises(fasttrt.InputError, match=f"^{problem}$"):
            predictor(batch)


def test_a_model_without_inputs(opened: Open) -> None:
    node = helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])
    proto = models.make([node], [], [models.value("y", TensorProto.FLOAT, [2])])
    with pytest.raises(fasttrt.InputError, match="inputs: expected a model with inputs, got one w"):
        opened(proto.SerializeToString())


def test_models_that_have_no_rows(opened: Open) -> None:
    shape = (TensorProto.FLOAT, ["n", 3])
    total = model_of(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], shape, (TensorProto.FLOAT, [])
    )
    row = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    mean = model_of([row], shape, (TensorProto.FLOAT, [3]), axes=np.array([0]))
    for model, got in [(total, r"\(\)"), (mean, r"\(3,\)")]:
        text = f"y: expected an output with a row for each of the 5 rows, got the shape {got}"
        with pytest.raises(fasttrt.InputError, match=text):
            opened(model)({"x": models.random_array("float32", (5, 3))})


def test_several_inputs_and_outputs(opened: Open) -> None:
    model = models.several()
    names = [tensor.name for tensor in model.proto.graph.input]
    arrays = model.inputs(batch=7)
    predictor = opened(model.to_bytes(), inputs={names[0]: "first"})
    columns = {"first": objects(arrays[0]), **dict(zip(names[1:], arrays[1:], strict=True))}
    found = predictor(columns)
    expected = model.reference(*arrays)
    for tensor, y in zip(model.proto.graph.output, expected, strict=True):
        assert found[tensor.name] == close_to(y)


@pytest.mark.parametrize("as_objects", [True, False])
def test_rows_are_padded(as_objects: bool, opened: Open) -> None:
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    shape = (TensorProto.INT64, ["n", "length"])
    model = model_of(nodes, shape, (TensorProto.INT64, ["n"]), axes=np.array([1]))
    lengths = [3, 4, 1, 7, 5, 30] if as_objects else [6] * 6
    rows = [new_rng().integers(0, 100, length) for length in lengths]
    column = objects(rows) if as_objects else np.stack(rows)
    predictor = opened(model, padding={"x": 0})
    assert predictor({"x": column})["y"].tolist() == [row.sum() for row in rows]
    ones = opened(model, padding={"x": 1})({"x": column})["y"]
    sizes = [4, 4, 1, 8, 8, 32] if as_objects else [8] * 6
    added = [size - length for size, length in zip(sizes, lengths, strict=True)]
    assert ones.tolist() == [row.sum() + more for row, more in zip(rows, added, strict=True)]


@pytest.mark.parametrize("bad", [False, True])
def test_large_results_are_not_copied_into_one(bad: bool, opened: Open) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    shape = (TensorProto.FLOAT, ["n", 20_000])
    shapes = {"x": ((1, 20_000), (8, 20_000), (8, 20_000))}
    predictor = opened(model_of(nodes, shape, shape), shapes=shapes, errors="problem")
    x = models.random_array("float32", (27, 20_000))
    rows = objects(x)
    if bad:
        rows[20] = rows[20][:-1]
    table = pa.table({"x": list(rows), "id": np.arange(27)})
    found: Any = predictor(table)
    assert found["y"].num_chunks == (1 if bad else 4)
    good = np.delete(np.arange(27), 20) if bad else np.arange(27)
    y = np.stack([found["y"][int(row)].as_py() for row in good])
    np.testing.assert_array_equal(y, np.maximum(x[good], 0))
    assert [i for i, text in enumerate(found["problem"].to_pylist()) if text] == [20] * bad
