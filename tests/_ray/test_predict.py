"""`predict` on a real cluster of Ray with two nodes on this machine; on the CPU backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import fasttrt
from support import models
from support.assertions import close_to
from support.randomness import new_rng

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data", reason="Ray Data is not installed")

import pyarrow  # noqa: E402
from ray.data.extensions import ArrowVariableShapedTensorArray  # noqa: E402

import fasttrt.ray as fasttrt_ray  # noqa: E402

ROWS = 500
NESTED = pyarrow.list_(pyarrow.list_(pyarrow.float32(), 64), 64)
IMAGES = ArrowVariableShapedTensorArray.from_numpy([np.zeros((2, 2)), np.zeros((3, 3))])


def rows_of(dataset: Any) -> list[dict[str, Any]]:
    return sorted(dataset.take_all(), key=lambda row: int(row["id"]))


def numbered(x: Any) -> Any:
    return ray.data.from_items([{"x": row, "id": i} for i, row in enumerate(x)]).repartition(7)


@pytest.mark.usefixtures("cluster")
def test_results_are_those_of_one_process(
    model_file: Path, mlp_model: models.Model, tmp_path: Path
) -> None:
    (x,) = mlp_model.inputs(batch=ROWS)
    numbered(x.astype(np.float64)).write_parquet(str(tmp_path / "in"))
    found = fasttrt_ray.predict(
        tmp_path / "in", model_file, device="cpu", batch_size=64, concurrency=2,
        outputs={"y": "result"}, cast="lossy",
    )  # fmt: skip
    found.write_parquet(str(tmp_path / "out"))
    rows = rows_of(ray.data.read_parquet(str(tmp_path / "out")))
    assert [row["id"] for row in rows] == list(range(ROWS))
    assert set(rows[0]) == {"id", "result"}
    assert np.stack([row["result"] for row in rows]) == close_to(mlp_model.reference(x))


@pytest.mark.usefixtures("cluster")
def test_a_model_in_memory_and_bad_rows(mlp_model: models.Model) -> None:
    (x,) = mlp_model.inputs(batch=40)
    rows: list[Any] = list(x)
    rows[7], rows[30] = new_rng().standard_normal(3).astype(np.float32), None
    given = ray.data.from_items(
        [{"x": row, "id": i} for i, row in enumerate(rows) if row is not None]
    )
    found = rows_of(
        fasttrt_ray.predict(
            given, ray.put(mlp_model.to_bytes()), device="cpu", errors="problem", concurrency=1
        )
    )
    expected = mlp_model.reference(x)
    for row in found:
        if row["id"] == 7:
            assert "x: expected" in row["problem"]
            assert np.isnan(row["y"]).all()
        else:
            assert row["problem"] == ""
            assert row["y"] == close_to(expected[row["id"]])


def slowly(batch: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.05)
    return batch


def by_row(batch: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def test_a_killed_node_loses_no_row(
    cluster: Any, model_file: Path, mlp_model: models.Model
) -> None:
    third = cluster.add_node(num_cpus=2)
    (x,) = mlp_model.inputs(batch=ROWS)
    marker = model_file.with_suffix(".killed")
    found = fasttrt_ray.predict(
        numbered(x).map_batches(slowly, batch_size=10), model_file, device="cpu", batch_size=10,
        concurrency=3,
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    for batch in found.iter_batches(batch_size=50):
        seen += by_row(batch)
        if not marker.exists():
            marker.touch()
            cluster.remove_node(third, allow_graceful=False)
    seen.sort(key=lambda row: int(row["id"]))
    assert [row["id"] for row in seen] == list(range(ROWS))
    assert np.stack([row["y"] for row in seen]) == close_to(mlp_model.reference(x))


class Dying(fasttrt_ray.Predictor):
    """Its first process dies in the middle of a batch; each row says which process it is from."""

    def __init__(self, model: Any, marker: Path, **options: Any) -> None:
        super().__init__(model, **options)
        self.marker, self.calls = marker, 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        found = super().__call__(slowly(batch))
        self.calls += 1
        if self.calls == 3 and not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return {**found, "pid": np.full(len(found["id"]), os.getpid())}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_actor_loses_no_row(
    threads: int, model_file: Path, mlp_model: models.Model
) -> None:
    (x,) = mlp_model.inputs(batch=ROWS)
    marker = model_file.with_suffix(".killed")
    pool = ray.data.ActorPoolStrategy(
        size=1, max_concurrent_calls_per_actor=threads, enable_true_multi_threading=threads > 1
    )
    found = numbered(x).map_batches(
        Dying, fn_constructor_args=[str(model_file), marker],
        fn_constructor_kwargs={"device": "cpu"}, batch_size=20, compute=pool,
    )  # fmt: skip
    rows = rows_of(found)
    assert [row["id"] for row in rows] == list(range(ROWS))
    assert np.stack([row["y"] for row in rows]) == close_to(mlp_model.reference(x))
    assert int(marker.read_text()) not in {row["pid"] for row in rows[-1:]}


@pytest.mark.usefixtures("cluster")
def test_plain_parquet_and_what_else_its_columns_hold(
    model_file: Path, mlp_model: models.Model, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (x,) = mlp_model.inputs(batch=60)
    others = {
        "text": [None if i % 7 == 0 else f"row {i}" for i in range(60)],
        "image": [bytes([i]) * i for i in range(60)],
        "known": [None if i % 5 == 0 else i % 2 == 0 for i in range(60)],
        "count": [None if i % 3 == 0 else 2**60 + i for i in range(60)],
        "tags": [["a"] * (i % 3) for i in range(60)],
    }
    table = {"x": pa.array(x.tolist(), pa.list_(pa.float32())), "id": range(60), **others}
    (tmp_path / "in").mkdir()
    for part in range(3):
        rows = {name: column[20 * part : 20 * part + 20] for name, column in table.items()}
        pq.write_table(pa.table(rows), tmp_path / "in" / f"{part}.parquet")
    found = fasttrt_ray.predict(tmp_path / "in", model_file, device="cpu", concurrency=(1, 2))
    found.write_parquet(str(tmp_path / "out"))
    back = pq.read_table(tmp_path / "out").sort_by("id").to_pydict()
    assert np.array(back.pop("y")) == close_to(mlp_model.reference(x))
    assert back == {"id": list(range(60)), **others}


@pytest.mark.usefixtures("cluster")
def test_results_of_several_shapes_and_blocks_without_rows(tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    shape = ["batch", "length"]
    x, y = (models.value(name, TensorProto.FLOAT, shape) for name in "xy")
    model = models.make([relu], [x], [y]).SerializeToString()
    rows = [
        {"x": new_rng().standard_normal(4 if i < 20 else 1 + i % 3).astype(np.float32), "id": i}
        for i in range(40)
    ]
    rows[3]["x"] = np.ones(9, np.float32)
    given = ray.data.from_items(rows, override_num_blocks=8)
    some = given.filter(lambda row: not 10 <= row["id"] < 20)
    options: dict[str, Any] = {
        "device": "cpu",
        "errors": "problem",
        "shapes": {"x": ((1, 1), (8, 4), (8, 5))},
    }
    found = fasttrt_ray.predict(some, model, concurrency=1, **options)
    found.write_parquet(str(tmp_path / "out"))
    back = rows_of(ray.data.read_parquet(str(tmp_path / "out")))
    assert [row["id"] for row in back] == [*range(10), *range(20, 40)]
    for row in back:
        if row["id"] == 3:
            assert "x: expected" in row["problem"]
            assert row["y"].size == 0
        else:
            assert row["problem"] == ""
            np.testing.assert_array_equal(row["y"], np.maximum(rows[row["id"]]["x"], 0))
    nothing = given.filter(lambda row: row["id"] > 100)
    assert fasttrt_ray.predict(nothing, model, concurrency=1, **options).take_all() == []


@pytest.mark.usefixtures("cluster")
def test_errors_of_actors_reach_the_caller(mlp_model: models.Model, tmp_path: Path) -> None:
    (x,) = mlp_model.inputs(batch=20)
    missing = fasttrt_ray.predict(numbered(x), tmp_path / "missing.onnx", device="cpu")
    with pytest.raises(ray.exceptions.RayError, match=r"no such file: '.*missing.onnx'"):
        missing.take_all()
    unknown = fasttrt_ray.predict(
        numbered(x), mlp_model.to_bytes(), device="cpu", inputs={"x": "z"}
    )
    with pytest.raises(ray.exceptions.RayError, match=r"expected a column 'z', got \['x', 'id'\]"):
        unknown.take_all()


def test_plans_are_taken_from_the_object_store_without_a_copy(cluster: Any) -> None:
    data = new_rng().bytes(1 << 20)
    plan = fasttrt.Plan(data, {"about": "nothing"})
    received = ray.get(ray.put(plan))
    assert received == plan
    assert not isinstance(received.data, bytes)
    assert memoryview(received.data).readonly
    del cluster


ON_ONE_CPU = """
import sys, ray, ray.data, fasttrt.ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
found = ray.data.range(100)
for name in "ab":  # both have actors at the same time
    found = fasttrt.ray.predict(
        found, sys.argv[1], device="cpu", inputs={"x": "id"}, outputs={"y": "id"}
    )
assert sorted(row["id"] for row in found.take_all()) == list(range(100))
"""


def test_actors_leave_the_only_cpu_to_tasks_that_read(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = (models.value(name, TensorProto.INT64, ["N"]) for name in "xy")
    file = tmp_path / "same.onnx"
    file.write_bytes(models.make([node], [x], [y]).SerializeToString())
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    package = Path(fasttrt.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", ON_ONE_CPU, str(file)],
        env=environment | {"PYTHONPATH": str(package)}, timeout=120, check=True,
    )  # fmt: skip


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("concurrency", "expected"), [(1, None), ((1, 4), None), (2, 0), ((2, 4), 0), (None, 0)]
)
def test_cpus_of_actors(concurrency: Any, expected: int | None, model_file: Path) -> None:
    found = fasttrt_ray.predict(
        ray.data.range(3), model_file, device="cpu", concurrency=concurrency
    )
    assert found._logical_plan.dag.ray_remote_args.get("num_cpus") == expected


@pytest.mark.usefixtures("cluster")
def test_actors_that_are_added_later_find_tasks(model_file: Path) -> None:
    def in_flight(concurrency: Any, batch_size: int | None = 64) -> int | None:
        found = fasttrt_ray.predict(
            ray.data.from_numpy(np.zeros((2, 16), np.float32)), model_file, device="cpu",
            concurrency=concurrency, batch_size=batch_size,
        )  # fmt: skip
        strategy: Any = found._logical_plan.dag.compute
        assert strategy.max_concurrent_calls_per_actor == 2
        number: int | None = strategy.max_tasks_in_flight_per_actor
        return number

    assert in_flight(3) == 8
    assert in_flight((1, 3)) is None
    assert in_flight(3, None) is None  # many rows, which may take long
    context = ray.data.DataContext.get_current()
    context.max_tasks_in_flight_per_actor = 5
    try:
        assert in_flight(3) is None  # Ray's own setting
    finally:
        context.max_tasks_in_flight_per_actor = None


@pytest.mark.usefixtures("cluster")
def test_as_many_rows_at_once_as_are_worth_it(model_file: Path) -> None:
    def rows_of(dataset: Any) -> int:
        operator = fasttrt_ray.predict(dataset, model_file, device="cpu")._logical_plan.dag
        return int(operator.batch_size)

    def of(row: int) -> Any:
        return ray.data.from_numpy(np.zeros((2, row // 4), np.float32))

    context = ray.data.DataContext.get_current()
    assert context.target_max_block_size == 128 << 20  # Ray's default
    assert rows_of(of(4)) == 65536
    assert rows_of(of(1024)) == 16384
    assert rows_of(of(16384)) == 4096
    assert rows_of(of(1 << 20)) == 128
    assert rows_of(of(1 << 20).map_batches(slowly)) == 256
    context.target_max_block_size = 1 << 19
    try:
        assert rows_of(of(1024)) == 512
        assert rows_of(of(1 << 20)) == 1
    finally:
        context.target_max_block_size = 128 << 20


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("column", "rows"),
    [
        (["a" * 1000], 65536),  # text, as paths are
        ([True], 65536),
        (pyarrow.array([[[0.0] * 64] * 64], NESTED), 4096),
        ([b"a" * 1000], 256),
        ([[1.0, 2.0], [3.0]], 256),
        (IMAGES, 256),
    ],
    ids=["text", "bool", "nested", "bytes", "lists", "images"],
)
def test_rows_at_once_beside_a_number(column: Any, rows: int, model_file: Path) -> None:
    table = pyarrow.table({"id": pyarrow.array(range(len(column))), "x": column})
    found = fasttrt_ray.predict(ray.data.from_arrow(table), model_file, device="cpu")
    assert found._logical_plan.dag.batch_size == rows


@pytest.mark.usefixtures("cluster")
def test_rows_at_once_beside_types_of_pandas(model_file: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"x": np.zeros(3, np.float32), "kept": pandas.Categorical([*"aba"])})
    found = fasttrt_ray.predict(ray.data.from_pandas(frame), model_file, device="cpu")
    assert found._logical_plan.dag.batch_size == 256


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"batch_size": 0}, "batch_size: expected an integer >= 1 or None, got 0"),
        ({"batch_size": 2.5}, "batch_size: expected an integer >= 1 or None, got 2.5"),
        ({"concurrency": 0}, "concurrency: expected actors, .* got 0"),
        ({"concurrency": (3, 1)}, r"concurrency: expected actors, .* got \(3, 1\)"),
        ({"concurrency": True}, "concurrency: expected actors, .* got True"),
        ({"num_gpus": 1.5}, "num_gpus: expected a whole number, or a share of one GPU"),
        ({"num_gpus": -1}, "num_gpus: expected a whole number, or a share of one GPU"),
        ({"num_gpus": "1"}, "num_gpus: expected a whole number, or a share of one GPU"),
        ({"num_gpus": 1, "device": "cpu"}, 'num_gpus: expected none with device="cpu", got 1'),
        ({"device": "gpu"}, 'device: expected "auto", "cuda"'),
        ({"device": "cuda", "devices": [0]}, "devices: pass either device or devices"),
        ({"errors": 3}, "errors: expected the name of a column or None, got 3"),
        ({"inputs": ["x"]}, "inputs: expected columns by tensor .*, got \\['x'\\]"),
        ({"outputs": "y"}, "outputs: expected columns by tensor .*, got 'y'"),
        ({"outputs": {"y": 3}}, "outputs: expected names of columns, got 3"),
        ({"padding": 0}, "padding: expected values by input .*, got 0"),
        ({"cast": "loss"}, "cast: expected True, False or \"lossy\", got 'loss'"),
        ({"dataset": [1, 2]}, "dataset: expected a ray.data.Dataset or the path of Parquet files"),
    ],
)
def test_bad_arguments(given: dict[str, Any], problem: str, model_file: Path) -> None:
    arguments: dict[str, Any] = {"dataset": ray.data.range(3)} | given
    with pytest.raises(fasttrt.InputError, match=problem):
        fasttrt_ray.predict(arguments.pop("dataset"), model_file, **arguments)


@pytest.mark.usefixtures("cluster")
def test_options_and_models_are_checked_before_actors_start(engine: fasttrt.Engine) -> None:
    with pytest.raises(TypeError, match="'precison'"):
        fasttrt_ray.predict(ray.data.range(3), "m.onnx", precison="fp16")
    wrong: list[dict[str, Any]] = [{"precision": "fp17"}, {"shapes": 3}, {"contexts": 0}]
    for options in wrong:
        with pytest.raises(fasttrt.InputError, match=next(iter(options))):
            fasttrt_ray.predict(ray.data.range(3), "m.onnx", device="cpu", **options)
    with pytest.raises(fasttrt.InputError, match="a path on the machines of the cluster"):
        fasttrt_ray.predict(ray.data.range(3), "https://models/m.onnx", device="cpu")
    with pytest.raises(fasttrt.InputError, match="model: expected what the engine was opened from"):
        fasttrt_ray.predict(ray.data.range(3), engine)
