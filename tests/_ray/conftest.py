"""One cluster of Ray with two nodes on this machine, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fasttrt

TESTS = Path(__file__).parents[1]
IGNORED = ("DeprecationWarning", "FutureWarning", "ResourceWarning", "UserWarning")
"""Of Ray's own code, which imports and forks in this process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Ray's own warnings be, in the tests of this folder."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings(*(f"ignore::{name}" for name in IGNORED)))


@pytest.fixture(scope="package")
def cache_folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folder of the cache of engines on each of the two nodes."""
    return [tmp_path_factory.mktemp(f"node{i}") for i in range(2)]


@pytest.fixture(scope="package")
def cluster(cache_folders: list[Path]) -> Iterator[Any]:
    """A cluster of two nodes with two processors and a cache of their own, and a driver."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    pytest.importorskip("ray.data", reason="Ray Data is not installed")
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    for number, folder in enumerate(cache_folders):
        nodes.add_node(
            num_cpus=2,
            resources={f"node{number}": 100},
            env_vars={"FASTTRT_CACHE_DIR": str(folder)},
        )
    package = Path(fasttrt.__file__).parents[1]
    ray.init(nodes.address, runtime_env={"env_vars": {"PYTHONPATH": f"{TESTS}:{package}"}})
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.read_op_min_num_blocks = 2  # as there are no more processors
    yield nodes
    ray.shutdown()
    nodes.shutdown()
