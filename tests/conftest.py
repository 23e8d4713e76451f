"""What the tests need of the machine, and what happens where it is missing."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import _core
from fasttrt._library.discovery import find
from support.models import Model, mlp
from support.randomness import SEED, drawing_for, session_seed


def pytest_configure() -> None:
    """Choose the seed before other processes start, which have the same."""
    session_seed()


def pytest_report_header() -> str:
    """Name the seed of all random values."""
    return f"random values: {SEED}={session_seed()}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """What a file draws while it is imported follows from its name."""
    with drawing_for(collector.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What a test draws follows from its name."""
    with drawing_for(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """What a fixture draws follows from its name, whichever test is the first to use it."""
    with drawing_for(f"{request.node.nodeid} {fixturedef.argname}"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell with each failure how to have the same random values again."""
    report = yield
    if report.failed:
        again = f"{SEED}={session_seed()} pytest {shlex.quote(item.nodeid)}"
        report.sections.append(("The same random values again", again))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Each failure at once to the file that FASTTRT_TEST_FAILURES names.

    pytest shows them when all is over, which a run with a time limit may not live to see.
    """
    file = os.environ.get("FASTTRT_TEST_FAILURES")
    if file and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(file).open("a") as stream:
            stream.write(f"{report.nodeid} ({report.when})\n{report.longreprtext}\n\n")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing comes from the user's cache of engines, or goes there; of child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTTRT_CACHE_DIR", str(tmp_path_factory.mktemp("engines")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a GPU where there is none, with the reason."""
    problem = _core.driver_problem()
    for item in items:
        if problem and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def rtx() -> fasttrt.LibraryInfo:
    """The installed TensorRT-RTX; with FASTTRT_REQUIRE_RTX=1 it is an error if there is none."""
    try:
        return fasttrt.library("rtx")
    except fasttrt.LibraryNotFoundError as error:
        if os.environ.get("FASTTRT_REQUIRE_RTX") == "1":
            raise
        pytest.skip(f"TensorRT-RTX is not installed: {str(error).splitlines()[0]}")


@pytest.fixture
def model_file(mlp_model: Model, tmp_path: Path) -> Path:
    """The multilayer perceptron in a file."""
    return mlp_model.save(tmp_path / "mlp.onnx")


@pytest.fixture(scope="session")
def build(rtx: fasttrt.LibraryInfo) -> Callable[..., fasttrt.Plan]:
    """`fasttrt.build` with the installed TensorRT-RTX, which builds without a GPU too."""
    return functools.partial(fasttrt.build, library=rtx.path)


@pytest.fixture(scope="session")
def rtx_library(rtx: fasttrt.LibraryInfo) -> _core.Library:
    """The installed TensorRT-RTX, loaded."""
    return find(rtx.path, None)


@pytest.fixture(scope="session")
def vendor_library() -> Callable[[str], Path]:
    """The folder of one of the libraries that `.ci/fetch_libraries.sh` fetches, by its name there.

    Two releases of one family must not meet in one process: use them in processes of their own.
    """

    def find(name: str) -> Path:
        root = os.environ.get("FASTTRT_TEST_LIBRARIES")
        if not root:
            pytest.skip("FASTTRT_TEST_LIBRARIES names no folder; see .ci/fetch_libraries.sh")
        folders = sorted((Path(root) / name).glob("tensorrt*_libs"))
        if not folders:
            pytest.skip(f"{root}/{name} holds no TensorRT; see .ci/fetch_libraries.sh")
        return folders[0]

    return find


@pytest.fixture
def no_gpu() -> str:
    """Why no GPU can be used here; skips where one can."""
    problem = _core.driver_problem()
    if not problem:
        pytest.skip("there is a GPU")
    return problem


@pytest.fixture
def mlp_model() -> Model:
    """Three layers of matrix products, new for each test."""
    return mlp()


@pytest.fixture
def engine(mlp_model: Model) -> Iterator[fasttrt.Engine]:
    """Give an engine of `mlp_model`, on the CPU."""
    with fasttrt.Engine(mlp_model.proto, device="cpu") as engine:
        yield engine
