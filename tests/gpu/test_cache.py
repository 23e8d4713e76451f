"""The cache of engines where they run: what is not built twice, and what is built anew."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import BuildConfig, Engine, Plan, cache
from fasttrt._cache import cached_build as building
from fasttrt._cache.checksummed_file import read_checksummed, write_checksummed
from fasttrt._cache.store import KERNELS, TIMINGS, Store
from support import models
from support.assertions import assert_close
from support.gpu import (
    EXACT,
    is_rtx,
    library,
    normal,
    product_tolerance,
    report,
    run_child,
)
from support.models import Model, mlp
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SHAPES = {"x": ((1, 16), (4, 16), (8, 16))}

# A start in a process of its own: prints how many plans it built and the seconds from the import to
# the first result, which it saves.
CHILD = """
import json, logging, sys, time
begin = time.perf_counter()
import fasttrt
import numpy as np
from fasttrt._cache import cached_build as building

logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
model, folder, x, y, shapes = sys.argv[1:]
build, plans = building.build, []
def counted(*arguments, **options):
    plans.append(build(*arguments, **options))
    return plans[-1]
building.build = counted
config = fasttrt.BuildConfig(tf32=False)
with fasttrt.Engine(
    model, device="cuda", shapes=json.loads(shapes), config=config, cache=folder,
) as engine:
    np.save(y, engine.infer(np.load(x)))
    took = time.perf_counter() - begin
print(json.dumps([len(plans), took]))
"""


class Opened:
    """Opens engines with one cache, and counts the plans that were built.

    They are counted where the cache has them built, as TensorRT 8.6 reports no steps of a build.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._plans: list[Plan] = []
        patch.setattr(building, "build", self._build)

    @property
    def builds(self) -> int:
        return len(self._plans)

    def _build(self, *arguments: Any, **options: Any) -> Plan:
        plan = fasttrt.build(*arguments, **options)
        self._plans.append(plan)
        return plan

    def __call__(self, model: Any, **given: Any) -> Engine:
        options: dict[str, Any] = {
            "device": "cuda", "shapes": SHAPES, "config": EXACT, "cache": self.root
        }  # fmt: skip
        return Engine(model, **options | given)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(tmp_path / "cache", monkeypatch)


@pytest.fixture
def path(mlp_model: Model, tmp_path: Path) -> Path:
    return mlp_model.save(tmp_path / "m.onnx")


def check(engine: Engine, mlp_model: Model, *batches: int) -> None:
    """Close it after right answers."""
    with engine:
        for batch in batches or (1, 8):
            x = normal(batch, 16)
            assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


def entry(root: Path) -> cache.Entry:
    (found,) = cache.entries(root)
    return found


def spoil(root: Path) -> None:
    """Put a plan in the entry's place that is whole, but that TensorRT does not take."""
    path = entry(root).path
    plan = Plan.load(path)
    Store(root).write(Plan(bytes(plan.data[: len(plan.data) // 2]), plan.metadata))
    assert cache.verify(root) == []


def test_the_second_engine_is_not_built(opened: Opened, mlp_model: Model, path: Path) -> None:
    for model in (path, str(path), path.read_bytes(), mlp_model.proto):
        check(opened(model), mlp_model)
        assert opened.builds == 1
    assert entry(opened.root).parts["gpu"]["name"]
    check(opened(path, shapes={"x": "1x16:4x16:8x16"}, contexts=3, cuda_graph=False), mlp_model)
    assert opened.builds == 1
    check(opened(path, config=BuildConfig(tf32=False, profiling_verbosity="detailed")), mlp_model)
    check(opened(path, shapes={"x": (8, 16)}), mlp_model, 8)
    assert opened.builds == 3


def test_another_models_engine_is_another(opened: Opened, mlp_model: Model, path: Path) -> None:
    check(opened(path), mlp_model)
    other = mlp()
    other.save(path)  # under the same name
    check(opened(path), other)
    mlp_model.save(path)
    check(opened(path), mlp_model)
    assert opened.builds == 2


def test_changed_weights_beside_the_file_change_the_answers(opened: Opened, tmp_path: Path) -> None:
    one, two = mlp(), mlp()
    file = tmp_path / "external.onnx"
    for model in (one, two):
        models.with_external_data(model.proto, file)
        check(opened(file), model)
    assert opened.builds == 2


def test_without_a_cache_nothing_is_kept(
    opened: Opened, mlp_model: Model, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FASTTRT_CACHE_DIR", str(tmp_path / "unused"))
    for _ in range(2):
        check(opened(path, cache=False), mlp_model)
    assert opened.builds == 2
    assert not opened.root.exists()
    assert not (tmp_path / "unused").exists()
    check(opened(path, cache=True), mlp_model)
    check(opened(path, cache=True), mlp_model)
    assert opened.builds == 3
    assert len(cache.entries()) == 1


def test_another_process_finds_the_engine(mlp_model: Model, path: Path, tmp_path: Path) -> None:
    x = normal(8, 16)
    np.save(tmp_path / "x.npy", x)
    builds = []
    for turn in range(3):
        y = tmp_path / f"y{turn}.npy"
        child = run_child(
            CHILD, path, tmp_path / "cache", tmp_path / "x.npy", y, json.dumps(SHAPES)
        )
        assert child.returncode == 0, child.stderr
        count, took = json.loads(child.stdout.splitlines()[-1])
        builds.append(count)
        assert_close(np.load(y), mlp_model.reference(x), product_tolerance())
        report("cache_start", turn=turn, built=count > 0, seconds=took)
    assert builds == [1, 0, 0]


def test_threads_share_a_build(opened: Opened, mlp_model: Model, path: Path) -> None:
    engines: list[Engine] = []
    threads = [threading.Thread(target=lambda: engines.append(opened(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engines) == 4
    for engine in engines:
        check(engine, mlp_model)
    assert opened.builds == 1


def test_a_plan_that_does_not_load_is_built_anew(
    opened: Opened, mlp_model: Model, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check(opened(path), mlp_model)
    spoil(opened.root)
    check(opened(path), mlp_model)
    assert opened.builds == 2
    assert caplog.text.count("the plan from the cache does not load, so it is rebuilt") == 1
    check(opened(path), mlp_model)
    assert opened.builds == 2


def test_a_damaged_entry_is_built_anew(
    opened: Opened, mlp_model: Model, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check(opened(path), mlp_model)
    file = entry(opened.root).path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    check(opened(path), mlp_model)
    assert opened.builds == 2
    assert f"{file} is damaged: its SHA-256 does not match" in caplog.text


def test_a_given_plan_is_not_built_anew(
    opened: Opened, mlp_model: Model, path: Path, tmp_path: Path
) -> None:
    check(opened(path), mlp_model)
    good = Plan.load(entry(opened.root).path)
    bad = Plan(bytes(good.data[: len(good.data) // 2]), good.metadata)
    bad.save(tmp_path / "bad.plan")
    spoil(opened.root)
    for given in (bad, tmp_path / "bad.plan", entry(opened.root).path, bytes(bad.data)):
        with pytest.raises(fasttrt.EngineLoadError):
            opened(given)
    assert opened.builds == 1


def test_mapped_plans_outlive_their_files(
    opened: Opened, mlp_model: Model, path: Path, tmp_path: Path
) -> None:
    check(opened(path), mlp_model)
    with opened(path) as engine:
        engine.save(tmp_path / "m.plan")
        cache.clear(opened.root)
        check(engine, mlp_model)
    plan = Plan.load(tmp_path / "m.plan")
    assert isinstance(plan.data, memoryview)
    (tmp_path / "m.plan").unlink()
    check(opened(plan), mlp_model)
    check(opened(plan.data), mlp_model)


def test_a_folder_that_cannot_be_written_is_survived(
    opened: Opened, mlp_model: Model, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    for _ in range(2):
        check(opened(path, cache=tmp_path / "file"), mlp_model)
    assert opened.builds == 2
    assert "cannot be written, so engines are built without it" in caplog.text


# Kernels and timings


class TestKernels:
    """What TensorRT-RTX compiles when a plan is loaded."""

    @pytest.fixture(autouse=True)
    def _only_there(self) -> None:
        if not is_rtx():
            pytest.skip(f"{library()} compiles when it builds")

    @staticmethod
    def file(root: Path) -> Path:
        (found,) = (root / KERNELS).glob("*.kernels")
        return found

    def test_they_are_kept_when_the_engine_is_open(
        self, opened: Opened, mlp_model: Model, path: Path
    ) -> None:
        with opened(path) as engine:
            size = self.file(opened.root).stat().st_size
            assert size > 100
            for batch in range(1, 9):
                engine.infer(normal(batch, 16))
        grown = self.file(opened.root).stat().st_size
        assert grown >= size
        check(opened(path), mlp_model)
        again = self.file(opened.root).stat().st_size
        report("kernels", opened=size, closed=grown, opened_again=again)

    def test_a_given_plan_has_them_too(
        self, opened: Opened, mlp_model: Model, tmp_path: Path
    ) -> None:
        plan = fasttrt.build(mlp_model.proto, EXACT, shapes=SHAPES, device="cuda")
        plan.save(tmp_path / "m.plan")
        check(opened(tmp_path / "m.plan"), mlp_model)
        file = self.file(opened.root)
        check(opened(plan), mlp_model)  # the same plan, the same file
        assert self.file(opened.root) == file
        assert cache.entries(opened.root) == []

    @pytest.mark.parametrize("damage", ["flip", "cut", "empty", "garbage"])
    def test_damaged_ones_are_ignored(
        self, opened: Opened, mlp_model: Model, path: Path, damage: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        check(opened(path), mlp_model)
        file = self.file(opened.root)
        content = bytearray(file.read_bytes())
        if damage == "flip":
            content[len(content) // 2] ^= 1
        elif damage == "cut":
            del content[len(content) // 2 :]
        else:
            content = bytearray(b"" if damage == "empty" else new_rng().bytes(999))
        file.write_bytes(content)
        check(opened(path), mlp_model)
        assert f"{file} is damaged" in caplog.text
        caplog.clear()
        check(opened(path), mlp_model)
        assert "is damaged" not in caplog.text
        assert opened.builds == 1

    def test_what_the_vendor_refuses_is_compiled_anew(
        self, opened: Opened, mlp_model: Model, path: Path, tmp_path: Path
    ) -> None:
        """A whole file whose content is no runtime cache; in a process that it might end."""
        check(opened(path), mlp_model)
        file, folder = self.file(opened.root), Store(opened.root).folder
        write_checksummed(folder, file, b"nothing of TensorRT's")
        np.save(tmp_path / "x.npy", x := normal(4, 16))
        child = run_child(
            CHILD, path, opened.root, tmp_path / "x.npy", tmp_path / "y.npy", json.dumps(SHAPES)
        )
        assert child.returncode == 0, child.stderr
        assert json.loads(child.stdout.splitlines()[-1])[0] == 0  # nothing was built
        assert_close(np.load(tmp_path / "y.npy"), mlp_model.reference(x), product_tolerance())
        assert read_checksummed(folder, file) not in (b"", b"nothing of TensorRT's")


def test_timings_are_kept_and_used(
    opened: Opened, mlp_model: Model, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if is_rtx():
        pytest.skip("TensorRT-RTX measures nothing")
    check(opened(path), mlp_model)
    (file,) = (opened.root / TIMINGS).glob("*.timings")
    assert file.name.startswith(f"tensorrt-{library().version}-")
    assert file.stat().st_size > 100
    other = mlp()
    check(opened(other.proto), other)
    file.write_bytes(b"damaged")
    last = mlp()
    check(opened(last.proto), last)
    assert f"{file} is damaged" in caplog.text
    assert file.stat().st_size > 100
    assert opened.builds == 3


def test_timings_that_tensorrt_refuses_are_dropped(
    opened: Opened, mlp_model: Model, path: Path, tmp_path: Path
) -> None:
    """In a process that they might end."""
    if is_rtx():
        pytest.skip("TensorRT-RTX measures nothing")
    opened(mlp().proto).close()
    (file,) = (opened.root / TIMINGS).glob("*.timings")
    folder = Store(opened.root).folder
    write_checksummed(folder, file, b"nothing of TensorRT's")
    np.save(tmp_path / "x.npy", x := normal(4, 16))
    child = run_child(
        CHILD, path, opened.root, tmp_path / "x.npy", tmp_path / "y.npy", json.dumps(SHAPES)
    )
    assert child.returncode == 0, child.stderr
    assert_close(np.load(tmp_path / "y.npy"), mlp_model.reference(x), product_tolerance())
    assert read_checksummed(folder, file) not in (b"", b"nothing of TensorRT's")
