"""A real cluster of Ray with two nodes on this machine; on the CPU backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from support import models
from support.assertions import close_to
from support.randomness import new_rng

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data", reason="Ray Data is not installed")

import fasttrt.ray as fasttrt_ray  # noqa: E402

ROWS = 500


@pytest.fixture
def model_file(mlp_model: models.Model, tmp_path: Path) -> Path:
    path = tmp_path / "mlp.onnx"
    mlp_model.save(path)
    return path


def rows_of(dataset: Any) -> list[dict[str, Any]]:
    return sorted(dataset.take_all(), key=lambda row: int(row["id"]))


def numbered(x: Any) -> Any:
    return ray.data.from_items([{"x": row, "id": i} for i, row in enumerate(x)]).repartition(7)


@pytest.mark.usefixtures("cluster")
def test_results_are_those_of_one_process(
    model_file: Path, mlp_model: models.Model, tmp_path: Path
) -> None:
    (x,) = mlp_model.inputs(batch=ROWS)
    numbered(x).write_parquet(str(tmp_path / "in"))
    found = fasttrt_ray.predict(
        tmp_path / "in", model_file, device="cpu", batch_size=64, concurrency=2,
        outputs={"y": "result"},
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
            given, mlp_model.to_bytes(), device="cpu", errors="problem", concurrency=1
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


@pytest.mark.usefixtures("cluster")
def test_a_bad_row_is_named(mlp_model: models.Model) -> None:
    predictor = fasttrt_ray.Predictor(mlp_model.to_bytes(), device="cpu")
    (x,) = mlp_model.inputs(batch=4)
    column = np.empty(4, object)
    column[:] = list(x)
    column[2] = x[2][:-1]
    with pytest.raises(fasttrt.InputError, match=r"row 2 of the batch: x: expected"):
        predictor({"x": column})
    assert predictor({"x": x})["y"] == close_to(mlp_model.reference(x))
    with pytest.raises(fasttrt.InputError, match=r"expected a column 'x', got \['z'\]"):
        predictor({"z": x})
    predictor.close()


def test_a_killed_node_loses_no_row(
    cluster: Any, model_file: Path, mlp_model: models.Model
) -> None:
    third = cluster.add_node(num_cpus=2)
    (x,) = mlp_model.inputs(batch=ROWS)
    marker = model_file.with_suffix(".killed")

    def slowly(batch: dict[str, Any]) -> dict[str, Any]:
        import time

        time.sleep(0.05)
        return batch

    found = fasttrt_ray.predict(
        numbered(x).map_batches(slowly, batch_size=10), model_file, device="cpu", batch_size=10,
        concurrency=3,
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    for batch in found.iter_batches(batch_size=50):
        seen += [
            dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        if not marker.exists():
            marker.touch()
            cluster.remove_node(third, allow_graceful=False)
    seen.sort(key=lambda row: int(row["id"]))
    assert [row["id"] for row in seen] == list(range(ROWS))
    assert np.stack([row["y"] for row in seen]) == close_to(mlp_model.reference(x))


def test_plans_are_taken_from_the_object_store_without_a_copy(cluster: Any) -> None:
    data = new_rng().bytes(1 << 20)
    plan = fasttrt.Plan(data, {"about": "nothing"})
    received = ray.get(ray.put(plan))
    assert received == plan
    assert not isinstance(received.data, bytes)
    assert memoryview(received.data).readonly
    del cluster


def test_a_batch_size_that_is_none(model_file: Path) -> None:
    with pytest.raises(fasttrt.InputError, match="batch_size: expected an integer >= 1 or None"):
        fasttrt_ray.predict("rows", model_file, batch_size=0)
