"""Actors that start at once build a model once for each folder of the cache: TensorRT-RTX's builds.

The CPU builds nothing, so that actors do here what `Engine` does before it loads a plan. The same
through `Predictor` is in tests/gpu/test_ray.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._cache.cached_build import cached_build
from fasttrt._cache.folder import parse_cache
from fasttrt._graph.model import OnnxModel

ray = pytest.importorskip("ray", reason="Ray is not installed")
NODES, ACTORS, PATIENCE = 2, 3, 120


class Builder:
    """Gets the plan of a model through the cache."""

    def is_ready(self) -> bool:
        """Whether the process has started."""
        return True

    def plan(self, model: Path, library: Path, cache: Any, stop: Path | None = None) -> Any:
        """How often its build reported progress, and the plan's digest.

        Args:
            model: the file.
            library: the TensorRT.
            cache: as for `Engine`.
            stop: a file that the build leaves when it begins, and then never ends.
        """
        steps: list[Any] = []

        def note(step: Any) -> None:
            steps.append(step)
            if stop is not None:
                stop.write_text(str(os.getpid()))
                time.sleep(10 * PATIENCE)

        source = cached_build(
            OnnxModel(model), fasttrt.BuildConfig(), shapes={"x": (2, 16)}, library=library,
            device=None, progress=note, cache=parse_cache(cache),
        )  # fmt: skip
        return len(steps), source.plan.digest


def start(node: int) -> Any:
    """An actor on a node."""
    remote = ray.remote(num_cpus=0, max_restarts=0, resources={f"node{node}": 1})(Builder)
    return remote.remote()


@pytest.fixture(scope="module")
def actors(cluster: Any) -> Iterator[list[Any]]:
    """Three on each node, all ready for work."""
    started = [start(node) for node in range(NODES) for _ in range(ACTORS)]
    ray.get([actor.is_ready.remote() for actor in started], timeout=PATIENCE)
    yield started
    for actor in started:
        ray.kill(actor)
    del cluster


def entries_of(folder: Path, model: Path) -> list[fasttrt.cache.Entry]:
    digest = OnnxModel(model).sha256()
    found = fasttrt.cache.entries(folder)
    return [entry for entry in found if entry.parts["model_sha256"] == digest]


def test_once_on_each_node(
    actors: list[Any], cache_folders: list[Path], model_file: Path, rtx: fasttrt.LibraryInfo
) -> None:
    found = ray.get(
        [actor.plan.remote(model_file, rtx.path, True) for actor in actors], timeout=PATIENCE
    )
    for node, folder in enumerate(cache_folders):
        here = found[node * ACTORS : (node + 1) * ACTORS]
        assert len([steps for steps, _ in here if steps]) == 1
        assert len({digest for _, digest in here}) == 1
        (entry,) = entries_of(folder, model_file)
        assert fasttrt.Plan.load(entry.path).digest == here[0][1]


def test_once_in_a_folder_that_nodes_share(
    actors: list[Any], cache_folders: list[Path], model_file: Path,
    rtx: fasttrt.LibraryInfo, tmp_path: Path,
) -> None:  # fmt: skip
    shared = tmp_path / "shared"
    found = ray.get(
        [actor.plan.remote(model_file, rtx.path, shared) for actor in actors], timeout=PATIENCE
    )
    assert len([steps for steps, _ in found if steps]) == 1
    assert len({digest for _, digest in found}) == 1
    assert len(entries_of(shared, model_file)) == 1
    assert not any(entries_of(folder, model_file) for folder in cache_folders)


def test_a_builder_that_is_killed_is_replaced(
    actors: list[Any], model_file: Path, rtx: fasttrt.LibraryInfo, tmp_path: Path
) -> None:
    shared, stop = tmp_path / "shared", tmp_path / "building"
    builder = start(0)
    lost = builder.plan.remote(model_file, rtx.path, shared, stop)
    end = time.monotonic() + PATIENCE
    while not stop.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    waiting = [actor.plan.remote(model_file, rtx.path, shared) for actor in actors]
    ready, _ = ray.wait(waiting, timeout=2)
    assert not ready
    ray.kill(builder)
    found = ray.get(waiting, timeout=PATIENCE)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(lost, timeout=PATIENCE)
    assert len([steps for steps, _ in found if steps]) == 1
    assert len({digest for _, digest in found}) == 1
    assert len(entries_of(shared, model_file)) == 1
