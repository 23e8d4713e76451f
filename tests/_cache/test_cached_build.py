"""Engines built for the cache with the real TensorRT-RTX, by one process and by many."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import BuildConfig, BuildProgress, InputError, Plan, cache
from fasttrt._cache.cached_build import TIMINGS_REFUSED, PlanSource, cached_build
from fasttrt._cache.fingerprints import library_fingerprint
from fasttrt._cache.lock import entry_lock
from fasttrt._cache.store import Store
from fasttrt._cache.timing_cache import discard_timings, timing_cache_file
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import transformed
from fasttrt._library.discovery import find
from support import models
from support.process import python_output
from support.randomness import new_rng
from support.shared_objects import compile_library, place

TESTS = Path(__file__).parents[1]
SHAPES = {"x": (2, 16)}
PATIENCE = 120

# A process that gets a model's plan, and prints how, and the plan's digest. It waits for the others
# at the door.
CHILD = """
import logging, signal, sys, time
from pathlib import Path
from fasttrt import BuildConfig
from fasttrt._cache.cached_build import cached_build
from fasttrt._graph.model import OnnxModel

logging.basicConfig(stream=sys.stderr, format="%(message)s")
signal.signal(signal.SIGINT, signal.default_int_handler)  # however the tests were started
model, root, library, door = map(Path, sys.argv[1:5])
steps = 0

def count(step):
    global steps
    steps += 1
    if steps == 1:
        print("building", flush=True)

loaded = OnnxModel(model)
print("ready", flush=True)
while not door.exists():
    time.sleep(0.01)
source = cached_build(
    loaded, BuildConfig(), shapes=None, library=library, device=None, progress=count, cache=root
)
print("built" if steps else "found", source.plan.digest, flush=True)
"""


class Builds:
    """Gets plans through the cache, and counts builds."""

    def __init__(self, root: Path, library: Path) -> None:
        self.root, self.library, self.count = root, library, 0

    def __call__(self, model: Any, config: BuildConfig | None = None, **given: Any) -> PlanSource:
        steps: list[BuildProgress] = []
        options: dict[str, Any] = {
            "shapes": SHAPES, "library": self.library, "device": None, "cache": self.root,
            "progress": steps.append,
        }  # fmt: skip
        made = model if isinstance(model, OnnxModel) else OnnxModel(model)
        source = cached_build(made, config or BuildConfig(), **options | given)
        self.count += bool(steps)
        return source


@pytest.fixture
def builds(tmp_path: Path, rtx: fasttrt.LibraryInfo, monkeypatch: pytest.MonkeyPatch) -> Builds:
    monkeypatch.setattr("fasttrt._cache.folder._warned", set())
    return Builds(tmp_path / "cache", rtx.path)


@pytest.fixture
def start(tmp_path: Path, rtx: fasttrt.LibraryInfo) -> Iterator[Callable[[Path], Any]]:
    """Starts processes on a model, which begin when `(tmp_path / "door")` is there."""
    children = []

    def started(model: Path) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *map(str, (model, tmp_path / "cache", rtx.path)),
             str(tmp_path / "door")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        children.append(child)
        return child

    yield started
    for child in children:
        child.kill()
        child.communicate()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


# Once


def test_the_same_is_built_once(builds: Builds, tmp_path: Path) -> None:
    made = models.mlp()
    path = made.save(tmp_path / "m.onnx")
    first = builds(path)
    assert (builds.count, first.rebuild) == (1, None)
    for model in (path, path.read_bytes(), made.proto):
        again = builds(model)
        assert again.plan == first.plan
        assert again.plan.digest == first.plan.digest
        assert again.rebuild is not None
    (tmp_path / "other name.onnx").write_bytes(path.read_bytes())
    builds(tmp_path / "other name.onnx")
    assert builds.count == 1


def test_what_is_cached_is_what_build_gives(builds: Builds) -> None:
    proto = models.mlp().proto
    builds(proto)
    plain = fasttrt.build(proto, shapes=SHAPES, library=builds.library)
    found = builds(proto).plan
    assert builds.count == 1
    assert found.data == plain.data
    assert plain.metadata.items() <= found.metadata.items()
    assert found.metadata.keys() - plain.metadata.keys() == {"cache", "model_name"}
    json.dumps(found.metadata)


def test_another_model_option_or_shape_is_built(builds: Builds) -> None:
    proto = models.mlp().proto
    given: list[tuple[Any, BuildConfig, Any]] = [
        (proto, BuildConfig(), SHAPES),
        (models.mlp().proto, BuildConfig(), SHAPES),  # of other weights
        (proto, BuildConfig(profiling_verbosity="none"), SHAPES),
        (proto, BuildConfig(), {"x": (3, 16)}),
        (proto, BuildConfig(), {"x": "1x16:2x16:3x16"}),
    ]
    plans = [builds(m, config, shapes=shapes).plan for m, config, shapes in given]
    assert builds.count == len(given)
    assert [builds(m, config, shapes=s).plan for m, config, s in given] == plans
    assert builds.count == len(given)


def test_no_argument_is_forgotten(builds: Builds) -> None:
    """What is built depends on an argument, or does not; a new one has to be added here.

    Options of `BuildConfig` are in test_key.py, and so are libraries and GPUs.
    """
    another: dict[str, tuple[Any, bool] | None] = {
        "model": (models.mlp().proto, True),
        "config": (BuildConfig(workspace=1 << 24), True),
        "shapes": ({"x": (3, 16)}, True),
        "tuned": ("auto", True),
        "plugins": None,  # see test_plugins_count
        "library": None,
        "device": None,
        "progress": (None, False),
        "cache": (None, False),
        "isolate": (True, False),
        "advise": (True, False),
    }
    assert inspect.signature(cached_build).parameters.keys() == another.keys()
    model = models.mlp().proto
    builds(model)
    for name, given in another.items():
        if given is not None:
            before = len(cache.entries(builds.root))
            builds(**{"model": model, name: given[0]})
            assert len(cache.entries(builds.root)) - before == given[1], name


def test_the_same_library_elsewhere_builds_the_same(builds: Builds, tmp_path: Path) -> None:
    path = models.mlp(batch=2).save(tmp_path / "m.onnx")
    digest = builds(path, shapes=None).plan.digest
    for file in builds.library.parent.glob("*.so*"):
        place(file, tmp_path / "elsewhere")
    arguments = (path, builds.root, tmp_path / "elsewhere", tmp_path)
    assert python_output(CHILD, *arguments).splitlines() == ["ready", f"found {digest}"]


def test_plugins_count(builds: Builds, tmp_path: Path) -> None:
    proto = models.mlp().proto
    builds(proto)
    no_plugin = compile_library(tmp_path / "libother.so", "int unrelated;")
    with pytest.raises(fasttrt.Error, match="could not load plugins"):  # so it went to build
        builds(proto, plugins=[no_plugin])


def test_changed_weights_beside_the_file_are_built(builds: Builds, tmp_path: Path) -> None:
    path = models.with_external_data(models.mlp().proto, tmp_path / "m.onnx")
    data = tmp_path / "m.onnx.data"
    before = builds(path).plan
    content = np.frombuffer(data.read_bytes(), np.float32).copy()
    content[7] += 1
    stat = data.stat()
    data.write_bytes(content.tobytes())
    os.utime(data, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # which nobody looks at
    after = builds(path).plan
    assert builds.count == 2
    assert after.data != before.data
    assert after.data == fasttrt.build(path, shapes=SHAPES, library=builds.library).data


def test_no_cache_is_no_cache(builds: Builds) -> None:
    proto = models.mlp().proto
    for _ in range(2):
        source = builds(proto, cache=None)
        assert source.rebuild is None
        assert "cache" not in source.plan.metadata
    assert builds.count == 2
    assert not builds.root.exists()


def test_a_build_that_fails_leaves_nothing(builds: Builds) -> None:
    unbuildable, buildable = models.unbuildable().proto, models.mlp().proto
    for _ in range(2):
        with pytest.raises(fasttrt.BuildError):
            builds(unbuildable, shapes=None)
        with pytest.raises(InputError, match="x: expected"):
            builds(buildable, shapes={"x": (2, 17)})
    assert cache.entries(builds.root) == []
    assert [path.suffix for path in builds.root.rglob("*.*")] == [".lock"] * 2


def test_a_model_that_changes_meanwhile_is_not_cached(
    builds: Builds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = models.deep(40).save(tmp_path / "m.onnx")
    changed = models.mlp().to_bytes()
    steps: list[BuildProgress] = []

    def change(step: BuildProgress) -> None:
        steps.append(step)
        path.write_bytes(changed)

    source = builds(OnnxModel(path), progress=change)
    assert steps
    assert source.plan.data
    assert "changed during the build" in caplog.text
    assert cache.entries(builds.root) == []


def test_a_file_that_was_replaced_after_it_was_read_is_not_cached(
    builds: Builds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    model = OnnxModel(path)
    models.mlp().save(path)  # other weights of the same size
    source = builds(model, BuildConfig(precision="fp16"))  # converts the graph as it was read
    assert source.plan.data
    assert "changed during the build" in caplog.text
    assert cache.entries(builds.root) == []


def test_a_file_that_gets_external_data_before_it_is_parsed_is_not_cached(
    builds: Builds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    model = OnnxModel(path, later=True)
    OnnxModel(path).save(path)
    assert (tmp_path / "m.onnx.data").exists()
    assert builds(model).plan.data
    assert "changed during the build" in caplog.text
    assert cache.entries(builds.root) == []


def test_a_plan_from_the_cache_needs_no_onnx(builds: Builds, tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    builds(OnnxModel(path, later=True))
    (entry,) = cache.entries(builds.root)
    code = """
        import sys
        from pathlib import Path
        from fasttrt import BuildConfig
        from fasttrt._cache.cached_build import cached_build
        from fasttrt._graph.model import OnnxModel

        model, root, library = sys.argv[1:]
        source = cached_build(
            OnnxModel(model, later=True), BuildConfig(), shapes={"x": (2, 16)}, library=library,
            device=None, progress=False, cache=Path(root),
        )
        heavy = ("onnx", "google.protobuf", "ml_dtypes", "filelock", "rich", "platformdirs")
        print(source.rebuild is not None, [name for name in heavy if name in sys.modules])
    """
    found = python_output(code, path, builds.root, builds.library)
    assert found == "True []"
    assert [kept.path for kept in cache.entries(builds.root)] == [entry.path]


def test_a_model_that_was_changed_is_another_than_one_that_was_saved_like_it(
    builds: Builds,
) -> None:
    changed = transformed(OnnxModel(models.mlp().proto), dims={"batch": 2})
    assert builds(changed, shapes=None).plan.metadata["changes"]
    saved = builds(OnnxModel(changed.to_bytes()), shapes=None)
    assert builds.count == 2
    assert saved.plan.metadata["changes"] == []
    assert saved.plan.metadata["model_sha256"] == OnnxModel(changed.to_bytes()).sha256()


# Damage, and plans that do not load


@pytest.mark.parametrize("damage", ["cut", "flip", "foreign"])
def test_a_damaged_entry_is_built_anew(
    builds: Builds, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    proto = models.mlp().proto
    first = builds(proto).plan
    (entry,) = cache.entries(builds.root)
    content = bytearray(entry.path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "flip":
        content[-len(first.data) // 2] ^= 1
    else:
        content = bytearray(builds(models.mlp().proto).plan.to_bytes())
    count = builds.count
    entry.path.write_bytes(content)
    again = builds(proto)
    assert (builds.count, again.rebuild) == (count + 1, None)
    assert again.plan == first
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [entry.path.name in message for message in told] == [True]
    assert builds(proto).plan == first
    assert builds.count == count + 1


def test_a_plan_that_does_not_load_is_built_anew_once(
    builds: Builds, caplog: pytest.LogCaptureFixture
) -> None:
    proto = models.mlp().proto
    builds(proto)
    source = builds(proto)
    assert builds.count == 1
    source.replace_plan("made by another release")
    assert source.rebuild is None
    assert "so it is rebuilt: made by another release" in caplog.text
    builds(proto)
    assert len(cache.entries(builds.root)) == 1


def test_what_another_process_built_anew_is_taken(builds: Builds) -> None:
    proto = models.mlp().proto
    builds(proto)
    broken = builds(proto)
    newer = Plan(bytes(broken.plan.data) + b"newer", broken.plan.metadata)
    Store(builds.root).write(newer)
    broken.replace_plan("it does not load")
    assert broken.plan == newer
    assert broken.rebuild is not None  # in case that one does not load either


def test_what_is_noted_stays_with_the_plan(builds: Builds) -> None:
    proto = models.mlp().proto
    fresh = builds(proto)
    fresh.annotate(verdict={"passed": True, "worst": 1e-6})
    assert fresh.plan.metadata["verdict"] == {"passed": True, "worst": 1e-6}
    cached = builds(proto)
    assert cached.plan == fresh.plan
    assert cached.plan.digest == fresh.plan.digest  # so the kernels stay its own
    cached.annotate(verdict=None)
    assert builds(proto).plan.metadata["verdict"] is None
    assert (builds.count, cache.verify(builds.root)) == (1, [])
    alone = builds(proto, cache=None)
    alone.annotate(verdict=1)
    assert alone.plan.metadata["verdict"] == 1
    assert builds(proto).plan.metadata["verdict"] is None


# Many processes


def test_many_processes_build_once(
    builds: Builds, start: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = models.deep(40).save(tmp_path / "m.onnx")
    children = [start(path) for _ in range(6)]
    assert {line(child) for child in children} == {"ready"}
    (tmp_path / "door").touch()
    outcomes = [child.communicate(timeout=PATIENCE) for child in children]
    assert [child.returncode for child in children] == [0] * 6, outcomes
    words = [out.split() for out, _ in outcomes]
    assert sorted(found[-2] for found in words) == ["built"] + ["found"] * 5
    assert len({found[-1] for found in words}) == 1
    (entry,) = cache.entries(builds.root)
    assert cache.verify(builds.root) == []
    assert sorted(p.suffix for p in builds.root.rglob("*.*")) == [".lock", ".plan"]
    found = builds(path, shapes=None)
    assert (builds.count, found.plan.digest) == (0, words[0][-1])
    assert found.plan.metadata["cache"] == entry.parts


def test_who_waits_says_for_whom_and_can_be_interrupted(
    builds: Builds, start: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = models.deep(40).save(tmp_path / "m.onnx")
    (tmp_path / "door").touch()
    builds(path, shapes=None, cache=tmp_path / "another")
    (entry,) = cache.entries(tmp_path / "another")
    with entry_lock(Store(builds.root).folder, entry.key, "the model of ours"):
        child = start(path)
        assert line(child) == "ready"
        assert child.stderr is not None
        told = child.stderr.readline()
        assert f"{path}: waiting for process {os.getpid()}" in told
        assert "has been building the model of ours for" in told
        while child.poll() is None:  # one that comes in a destructor is lost, as any Ctrl-C there
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=2)
        _, rest = child.communicate(timeout=PATIENCE)
        assert rest.rstrip().endswith("KeyboardInterrupt")
    assert cache.entries(builds.root) == []


def test_a_killed_builder_leaves_no_lock(
    builds: Builds, start: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = models.deep(150).save(tmp_path / "m.onnx")
    (tmp_path / "door").touch()
    child = start(path)
    assert (line(child), line(child)) == ("ready", "building")
    child.kill()
    child.wait()
    assert list((builds.root / "locks").glob("*.json"))  # its note is still there
    source = builds(path, shapes=None)
    assert (builds.count, source.rebuild) == (1, None)
    assert list((builds.root / "locks").glob("*.json")) == []
    assert cache.verify(builds.root) == []


def test_a_kill_in_the_middle_of_a_write_leaves_a_usable_cache(
    builds: Builds, tmp_path: Path
) -> None:
    """A process that writes entries all the time is killed again and again."""
    code = """
        import os, sys
        from pathlib import Path
        from fasttrt import Plan
        from fasttrt._cache.key import digest_of
        from fasttrt._cache.lock import entry_lock
        from fasttrt._cache.store import Store
        store = Store(Path(sys.argv[1]))
        while True:
            for number in range(3):
                parts = {"model_sha256": str(number)}
                with entry_lock(store.folder, digest_of(parts), "m"):
                    store.write(Plan(b"ftrt" + os.urandom(1 << 20) * 16, {"cache": parts}))
                print(number, flush=True)
    """
    partial, rng = 0, new_rng()
    for turn in range(100):
        if turn >= 4 and partial > 0:
            break
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), builds.root],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for _ in range(3):
            assert line(child).isdigit()
        time.sleep(rng.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        partial += len(list((builds.root / "plans").glob("*.partial")))
        assert cache.verify(builds.root) == []
        store = Store(builds.root)
        for number in range(3):
            assert store.read({"model_sha256": str(number)}) is not None
    assert partial > 0, "no kill came in the middle of a write"
    assert builds(models.mlp().proto).rebuild is None  # nor is any lock held


def test_threads_build_once(builds: Builds) -> None:
    proto = models.deep(40).proto
    sources: list[PlanSource] = []
    threads = [
        threading.Thread(target=lambda: sources.append(builds(proto, shapes=None)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len({source.plan.digest for source in sources}) == 1
    assert len(sources) == 6
    assert [source.rebuild is None for source in sources].count(True) == 1


# Disks that fail


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small disk in memory."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_survived(
    builds: Builds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proto = models.mlp([256, 1024, 1024, 256]).proto
    with mounted(builds.root, "size=1m,mode=0700"):
        shapes = {"x": (1, 256)}
        plans = [builds(proto, shapes=shapes).plan for _ in range(2)]
        assert builds.count == 2
        assert plans[0].data == plans[1].data
        assert caplog.text.count("No space left on device") == 1
        assert list(builds.root.rglob("*.partial")) == []
        small = models.mlp().proto
        assert builds(small).rebuild is None
        assert builds(small).rebuild is not None  # there is room for that one
        (builds.root / "filler").write_bytes(bytes(os.statvfs(builds.root).f_bavail * 4096))
        assert builds(models.mlp().proto).plan.data
        assert builds(small).rebuild is not None


def test_a_read_only_disk_is_survived(
    builds: Builds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proto = models.mlp().proto
    with mounted(builds.root, "size=10m,mode=0700"):
        first = builds(proto).plan
        subprocess.run(["mount", "-o", "remount,ro", builds.root], check=True)
        found = builds(proto)  # entries are read all the same
        assert (builds.count, found.plan) == (1, first)
        other = models.mlp().proto
        assert builds(other).plan.data == builds(other).plan.data
        assert builds.count == 3
        assert "cannot be written, so engines are built without it" in caplog.text
        assert caplog.text.count("Read-only file system") == 2  # of the lock, and of the plan
        assert cache.clear(builds.root) == 0
        assert len(cache.entries(builds.root)) == 1
        found.replace_plan("it does not load")
        assert found.plan.data == first.data


def test_a_folder_without_permission_is_survived(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    """As a user whom permissions hold back."""
    folders = [folder.stat().st_mode for folder in rtx.path.resolve().parents]
    if os.geteuid() == 0 and not all(mode & stat.S_IXOTH for mode in folders):
        pytest.skip("no other user could read the library where it is")
    code = """
        import logging, os, sys, tempfile
        from pathlib import Path
        from fasttrt import BuildConfig
        from fasttrt._cache.cached_build import cached_build
        from fasttrt._graph.model import OnnxModel
        model, library = map(Path, sys.argv[1:3])
        content = model.read_bytes()

        def get(root):
            source = cached_build(
                OnnxModel(content), BuildConfig(), shapes=None, library=library,
                device=None, progress=None, cache=root,
            )
            return source.rebuild is None, len(source.plan.data) > 5000

        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
            get(Path(other))  # imports what that user might not see
            root = Path(folder)
            root.chmod(0o500)
            if os.geteuid() == 0:
                os.chown(root, 65534, 65534)
                os.seteuid(65534)
            print(get(root), get(root), list(root.iterdir()))
            os.seteuid(os.getuid())
    """
    path = models.mlp(batch=2).save(tmp_path / "m.onnx")
    printed = python_output(code, path, rtx.path)
    assert printed.count("Permission denied") == 2  # of the lock, and of the plan; once each
    assert printed.splitlines()[-1] == "(True, True) (True, True) []"


# Timings. TensorRT-RTX measures nothing, but has files for it; that they help is seen on TensorRT.


def test_timings_are_kept_by_release_and_gpu(builds: Builds) -> None:
    store, library = Store(builds.root), find(builds.library, None)
    proto = models.mlp(batch=2).proto
    gpu = ("NVIDIA H100 80GB HBM3", 9, 0)

    def built(kind: tuple[str, int, int]) -> bool:
        with timing_cache_file(store, library, kind) as file:
            assert file is not None
            known = file.exists()
            config = dataclasses.replace(BuildConfig(), timing_cache=file)
            fasttrt.build(proto, config, library=builds.library)
            return known

    assert [built(gpu), built(gpu), built(("NVIDIA L40S", 8, 9)), built(gpu)] == [
        False, True, False, True,
    ]  # fmt: skip
    (first, _) = sorted(path.name for path in (builds.root / "timings").iterdir())
    release = f"rtx-{library.version}-{library_fingerprint(library)}"
    assert first == f"{release}-NVIDIA-H100-80GB-HBM3-9.0.timings"
    file = builds.root / "timings" / first
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert [built(gpu), built(gpu)] == [False, True]
    discard_timings(store, library, gpu)
    assert not built(gpu)


def test_a_build_that_fails_keeps_the_timings(builds: Builds) -> None:
    store, library = Store(builds.root), find(builds.library, None)
    gpu = ("GPU", 9, 0)
    with timing_cache_file(store, library, gpu) as file:
        assert file is not None
        file.write_bytes(b"measured")

    def fail() -> None:
        with timing_cache_file(store, library, gpu) as file:
            assert file is not None
            file.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with timing_cache_file(store, library, gpu) as file:
        assert file is not None
        assert file.read_bytes() == b"measured"
    assert len(list((builds.root / "timings").iterdir())) == 1


def test_the_core_says_that_it_refuses_timings_as_is_looked_for() -> None:
    """TensorRT-RTX refuses none, so tests/gpu alone sees what comes of it."""
    source = TESTS.parent / "cpp" / "engine" / "plan_builder.cpp"
    if not source.is_file():
        pytest.skip("the sources are not here")
    assert f'"{TIMINGS_REFUSED} ' in source.read_text()


def test_the_log_names_the_entry(builds: Builds, caplog: pytest.LogCaptureFixture) -> None:
    proto = models.mlp().proto
    builds(proto)
    with caplog.at_level(logging.INFO, "fasttrt"):
        builds(proto)
    (entry,) = cache.entries(builds.root)
    assert f"a model in memory: the plan is in the cache: {entry.path}" in caplog.text
