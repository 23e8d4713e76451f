"""Log settings, which Triton's client changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

import fasttrt
from support.models import mlp

LOGGER = logging.getLogger("fasttrt")
TENSORRT = logging.getLogger("fasttrt.tensorrt")


@pytest.fixture
def client() -> Iterator[InferenceServerClient]:
    before = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        with (
            fasttrt.Engine(mlp().proto, device="cpu") as engine,
            fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None) as server,
            InferenceServerClient(server.url) as client,
        ):
            yield client
        assert LOGGER.level == logging.WARNING  # as it was
    finally:
        LOGGER.setLevel(before)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    for log in (LOGGER, TENSORRT):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            log.log(level, "a message")
    return [record.levelname for record in caplog.records]


def test_levels(client: InferenceServerClient, caplog: pytest.LogCaptureFixture) -> None:
    settings = {
        "log_file": "", "log_info": False, "log_warning": True, "log_error": True,
        "log_verbose_level": 0, "log_format": "default",
    }  # fmt: skip
    assert "logging" in client.get_server_metadata()["extensions"]
    assert client.get_log_settings() == settings
    assert logged(caplog) == ["WARNING", "ERROR"] * 2
    for changes, levels in (
        ({"log_info": True}, ["INFO", "WARNING", "ERROR"]),
        ({"log_warning": False}, ["INFO", "ERROR"]),
        ({"log_verbose_level": 2}, ["DEBUG", "INFO", "ERROR"]),
        ({"log_info": False, "log_error": False, "log_verbose_level": 0}, []),
        ({"log_error": True, "log_format": "default"}, ["ERROR"]),
    ):
        settings |= changes
        assert client.update_log_settings(changes) == settings
        assert client.get_log_settings() == settings
        assert logged(caplog) == levels * 2


def test_wrong_settings(client: InferenceServerClient) -> None:
    before = client.get_log_settings()
    for changes, message in (
        ({"log_file": "/tmp/x"}, r"\[501\].*log_file: it cannot be changed"),
        ({"log_format": "ISO8601"}, r"\[501\].*log_format: it cannot be changed"),
        ({"log_info": 1}, r"\[400\].*log_info: expected true or false, got 1"),
        ({"log_verbose_level": -1}, r"\[400\].*log_verbose_level: expected an integer >= 0"),
        ({"log_info": True, "info": True}, r"\[400\].*expected some of .*, got 'info'"),
    ):
        with pytest.raises(InferenceServerException, match=message):
            client.update_log_settings(changes)
    assert client.get_log_settings() == before
