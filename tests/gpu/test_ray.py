"""Actors of Ray on the GPUs that Ray gives them: results as in one process, one build for all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from support.assertions import assert_close
from support.gpu import EXACT, normal, open_engine, product_tolerance
from support.models import Model

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data", reason="Ray Data is not installed")

import fasttrt.ray as fasttrt_ray  # noqa: E402

IGNORED = ("DeprecationWarning", "FutureWarning", "ResourceWarning", "UserWarning")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings(*(f"ignore::{name}" for name in IGNORED)),  # of Ray's own code
]
ROWS, BATCH = 3000, 16
SHAPES = {"x": ((1, 16), (BATCH, 16), (BATCH, 16))}


@pytest.fixture(scope="module")
def gpus() -> Iterator[int]:
    """A Ray of this machine; the number of its GPUs."""
    paths = f"{Path(__file__).parents[1]}:{Path(fasttrt.__file__).parents[1]}"
    count = _core.device_count()
    variables = {"PYTHONPATH": paths, "NVIDIA_TF32_OVERRIDE": "0"}
    ray.init(
        address="local", num_gpus=count, num_cpus=4 + 2 * count, include_dashboard=False,
        runtime_env={"env_vars": variables},
    )  # fmt: skip
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = 200  # so that each actor gets a share of the rows
    yield count
    ray.shutdown()


class Located(fasttrt_ray.Predictor):
    """Adds the actor's process and the GPU that Ray gave it to each row."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        found = super().__call__(batch)
        count = len(found["id"])
        (gpu,) = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return {**found, "gpu": np.full(count, int(gpu)), "pid": np.full(count, os.getpid())}


def note_builder(folder: Path) -> Callable[[Any], None]:
    """A callback for progress that leaves a file with the name of each process that builds."""

    def note(step: Any) -> None:
        if step.phase != "Warm-up":  # which each engine has
            (folder / str(os.getpid())).write_text(str(step))

    return note


def numbered(x: Any) -> Any:
    rows = ray.data.from_numpy(x).map_batches(
        lambda batch: {"x": batch["data"], "id": batch["data"][:, 0].view(np.int32)}
    )
    return rows.repartition(40)


def drawn() -> Any:
    """Random rows whose first value has bits of its own."""
    x = normal(ROWS, 16)
    x[:, 0] = np.arange(1, ROWS + 1, dtype=np.float32) / ROWS
    return x


def in_order(x: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of x, each of which is there once."""
    places = {bits: i for i, bits in enumerate(x[:, 0].view(np.int32).tolist())}
    found = sorted(rows, key=lambda row: places[int(row["id"])])
    assert [places[int(row["id"])] for row in found] == list(range(len(x)))
    return found


@pytest.mark.parametrize("share", [1, 0.5], ids=["a GPU each", "two on a GPU"])
def test_actors_give_what_one_process_gives(
    share: float, gpus: int, mlp_model: Model, tmp_path: Path
) -> None:
    model = mlp_model.save(tmp_path / "m.onnx")
    builders = tmp_path / "builders"
    builders.mkdir()
    x = drawn()
    actors = int(gpus / share)
    options = {
        "device": "cuda", "shapes": SHAPES, "config": EXACT, "cache": tmp_path / "cache",
        "progress": note_builder(builders),
    }  # fmt: skip
    found = numbered(x).map_batches(
        Located, fn_constructor_args=[str(model)], fn_constructor_kwargs=options,
        batch_size=3 * BATCH + 1, num_gpus=share, compute=ray.data.ActorPoolStrategy(size=actors),
    )  # fmt: skip
    rows = in_order(x, found.take_all())
    with open_engine(mlp_model, shapes=SHAPES) as engine:
        alone = np.concatenate(list(engine.map(x[i : i + BATCH] for i in range(0, ROWS, BATCH))))
    y = np.stack([row["y"] for row in rows])
    assert_close(y, alone, product_tolerance())
    assert_close(y, mlp_model.reference(x), product_tolerance())
    assert len({row["pid"] for row in rows}) == actors
    assert {row["gpu"] for row in rows} == set(range(gpus))
    assert len(list(builders.iterdir())) == 1
    assert len(fasttrt.cache.entries(tmp_path / "cache")) == 1


def test_a_plan_from_the_object_store(gpus: int, plan: fasttrt.Plan, mlp_model: Model) -> None:
    x = drawn()
    found = fasttrt_ray.predict(numbered(x), plan, device="cuda", outputs={"y": "scores"})
    rows = in_order(x, found.take_all())
    scores = np.stack([row["scores"] for row in rows])
    assert_close(scores, mlp_model.reference(x), product_tolerance())
    del gpus


def test_a_bad_row_keeps_its_error(gpus: int, plan: fasttrt.Plan, mlp_model: Model) -> None:
    x = normal(40, 16)
    values: list[Any] = list(x)
    values[7] = values[7][:-1]
    rows = ray.data.from_items([{"x": row, "id": i} for i, row in enumerate(values)])
    found = fasttrt_ray.predict(rows, plan, device="cuda", errors="problem", concurrency=1)
    expected = mlp_model.reference(x)
    for row in found.take_all():
        if row["id"] == 7:
            assert "x: expected" in row["problem"]
            assert np.isnan(row["y"]).all()
        else:
            assert row["problem"] == ""
            assert_close(row["y"], expected[row["id"]], product_tolerance())
    del gpus
