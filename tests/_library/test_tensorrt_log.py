"""TensorRT's log in Python's logging, where and as far as it is wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

import fasttrt
from fasttrt import _core
from support import models
from support.process import run_python

Build = Callable[..., fasttrt.Plan]
LOGGER = "fasttrt.tensorrt"


def failing(build: Build) -> None:
    with pytest.raises(fasttrt.BuildError):
        build(models.unbuildable().proto, shapes={"x": (2, 4)})


def test_errors_are_logged_as_errors(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    failing(build)
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert {r.name for r in errors} == {LOGGER}
    assert any("Error Code" in r.getMessage() for r in errors)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, {"DEBUG", "INFO", "ERROR"}),
        (logging.INFO, {"INFO", "ERROR"}),
        (logging.ERROR, {"ERROR"}),
        (logging.CRITICAL, set()),
    ],
)
def test_levels_are_honoured(
    build: Build, caplog: pytest.LogCaptureFixture, level: int, expected: set[str]
) -> None:
    with caplog.at_level(level, logger=LOGGER):
        failing(build)
    seen = {r.levelname for r in caplog.records if r.name == LOGGER}
    assert seen >= expected
    assert all(r.levelno >= level for r in caplog.records if r.name == LOGGER)
    assert (seen == set()) == (expected == set())


@pytest.mark.parametrize("threshold", [1, 2, 3, 4])
def test_the_core_keeps_no_more_than_is_wanted(rtx: fasttrt.LibraryInfo, threshold: int) -> None:
    _core.set_log_threshold(threshold)
    _core.take_log()
    builder = _core.PlanBuilder(_core.find_library(str(rtx.path), "", [], (0, 0)), None)
    builder.parse(models.mlp().to_bytes(), "")
    with pytest.raises(fasttrt.ParseError):
        builder.parse(b"garbage", "")
    seen = {severity for severity, _ in _core.take_log()}
    assert max(seen) == (threshold if threshold != 2 else 1)  # nothing here is a warning
    assert not _core.has_log()


def test_an_error_is_quoted_whether_or_not_it_is_logged(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.CRITICAL, logger=LOGGER),
        pytest.raises(fasttrt.BuildError, match="Error Code"),
    ):
        build(models.unbuildable().proto, shapes={"x": (2, 4)})
    assert not [r for r in caplog.records if r.name == LOGGER]


def test_percent_signs_are_no_format(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    made = models.elementwise((4,))
    made.proto.graph.node[0].name = "100%s %d %"
    with caplog.at_level(logging.DEBUG, logger=LOGGER):
        build(made.proto)
    assert any("100%s %d %" in r.getMessage() for r in caplog.records)


def test_the_log_of_a_build_on_another_thread_arrives(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    thread = threading.Thread(target=failing, args=[build])
    thread.start()
    thread.join()
    names = {r.threadName for r in caplog.records if r.name == LOGGER}
    assert names == {thread.name}


def test_the_log_arrives_while_building(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    during: list[int] = []
    with caplog.at_level(logging.DEBUG, logger=LOGGER):
        build(
            models.deep(60).proto,
            shapes={"x": (2, 16)},
            progress=lambda step: during.append(len(caplog.records)),
        )
    assert 0 < during[0] <= during[-1] <= len(caplog.records)


def test_a_logger_that_raises_does_not_break_the_next_build(build: Build) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no room on the disk")

    handler, logger = Broken(logging.ERROR), logging.getLogger(LOGGER)
    logger.addHandler(handler)
    try:
        with pytest.raises(RuntimeError, match="no room"):
            build(models.unbuildable().proto, shapes={"x": (2, 4)})
    finally:
        logger.removeHandler(handler)
    assert build(models.mlp(batch=2).proto).data


def test_nothing_is_printed_by_default(rtx: fasttrt.LibraryInfo) -> None:
    code = """
        import fasttrt
        from support import models
        given = (
            (models.unbuildable(), {"x": (2, 4)}),
            (models.unsupported(), None),
            (models.mlp(batch=2), None),
        )
        for made, shapes in given:
            try:
                fasttrt.build(made.proto, shapes=shapes)
            except fasttrt.Error as error:
                print(type(error).__name__)
    """
    done = run_python(code, FASTTRT_LIBRARY=str(rtx.path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["BuildError", "ParseError"]
    assert done.stderr == ""


def test_defaults_are_told_by_default(rtx: fasttrt.LibraryInfo) -> None:
    code = "import fasttrt; from support.models import mlp; fasttrt.build(mlp().proto)"
    done = run_python(code, FASTTRT_LIBRARY=str(rtx.path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("no shapes= passed; building for x ")
