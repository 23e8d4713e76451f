"""Metadata that others have written: forged, damaged, nested, with commands to the terminal."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt import cache
from fasttrt._cli import app
from fasttrt._terminal import message, printable, printable_lines

ESCAPE = "\x1b]0;owned\x07\x1b[31m\u202e\nline [red]markup[/red]"


def forged(path: Path, metadata: bytes, *, extra: int = 0) -> Path:
    """A plan with a right checksum over any metadata."""
    data = b"plan" * 9
    offset = -(-(72 + len(metadata)) // 4096) * 4096
    fields = struct.pack("<8sIIQQQ", b"FASTTRT\0", 2, 0, len(metadata), offset + extra, len(data))
    padded = metadata.ljust(offset + extra - 72, b"\0")
    checksum = hashlib.sha256(fields + padded + hashlib.sha256(data).digest()).digest()
    path.write_bytes(fields + checksum + padded + data)
    return path


WRONG: list[Any] = [
    [],
    5,
    None,
    {"library": "x"},
    {"library": {}},
    {"library": {"family": 1, "version": "2"}},
    {"gpu": 5},
    {"gpu": {}},
    {"config": []},
    {"config": {"precision": ["fp16"]}},
    {"changes": "x"},
    {"grouped_convolutions": "x"},
    {"grouped_convolutions": [1]},
    {"changes": [[]]},
    {"inputs": {"x": 1}},
    {"inputs": [{"name": 5}]},
    {"inputs": [{"shape": ["x"]}]},
    {"outputs": [1]},
    {"plugins": [{"name": "x"}]},
    {"profiles": [0]},
    {"cache": 1},
    {"cache": {"library": 5}},
    {"model_name": ["x"]},
    {"model_sha256": None},
    {"structure": 5},
    {"verification": "x"},
    {"arguments": {"freeze": []}},
]


@pytest.mark.parametrize("metadata", WRONG, ids=json.dumps)
def test_fields_of_other_types_are_refused(metadata: Any, tmp_path: Path) -> None:
    path = forged(tmp_path / "m.plan", json.dumps(metadata).encode())
    with pytest.raises(fasttrt.EngineLoadError, match="is damaged: its metadata"):
        fasttrt.Plan.load(path)
    done = CliRunner().invoke(app, ["inspect", str(path)])
    assert isinstance(done.exception, fasttrt.EngineLoadError)
    (tmp_path / "cache" / "plans").mkdir(parents=True, mode=0o700)
    (tmp_path / "cache").chmod(0o700)
    path.rename(tmp_path / "cache" / "plans" / ("0" * 64 + ".plan"))
    for options in ([], ["--json"]):
        done = CliRunner().invoke(
            app, ["cache", "list", "--folder", str(tmp_path / "cache"), *options]
        )
        assert done.exit_code == 0, done.output
        assert "is damaged" in done.output


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"x":' * 5000 + b"1" + b"}" * 5000,
        b'{"x":' * 70 + b"1" + b"}" * 70,
        b"\xff",
    ],
)
def test_nested_metadata_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(fasttrt.EngineLoadError, match="is damaged"):
        fasttrt.Plan.load(forged(tmp_path / "m.plan", content))


def test_a_header_of_too_much_metadata_is_refused(tmp_path: Path) -> None:
    forged(tmp_path / "m.plan", b"{}", extra=4096)
    with pytest.raises(fasttrt.EngineLoadError, match="too much metadata"):
        fasttrt.Plan.load(tmp_path / "m.plan")
    with (tmp_path / "huge.plan").open("wb") as stream:
        size = 1 << 40
        fields = struct.pack("<8sIIQQQ", b"FASTTRT\0", 2, 0, size, (1 << 40) + 4096, 0)
        stream.write(fields + bytes(32))
        stream.truncate((1 << 40) + 4096)
    with pytest.raises(fasttrt.EngineLoadError, match="too much metadata"):
        fasttrt.Plan.load(tmp_path / "huge.plan")


def test_no_command_reaches_the_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support import models

    parts = {"library": {"family": ESCAPE, "version": ESCAPE}}
    metadata = {
        "model_name": ESCAPE, "gpu": {"name": ESCAPE, "compute_capability": "9"}, "cache": parts,
        "library": {"family": ESCAPE, "version": "1"}, "changes": [ESCAPE], ESCAPE: ESCAPE,
        "inputs": [
            {"name": ESCAPE, "dtype": "float32", "engine_dtype": "float32", "shape": [1],
             "dimensions": [ESCAPE]}
        ],
    }  # fmt: skip
    (tmp_path / "cache" / "plans").mkdir(parents=True, mode=0o700)
    (tmp_path / "cache").chmod(0o700)
    plan = forged(tmp_path / "cache" / "plans" / "a.plan", json.dumps(metadata).encode())
    proto = models.mlp(batch=2).proto
    proto.graph.output[0].name = proto.graph.node[-1].output[0] = ESCAPE
    proto.graph.node[0].name = proto.producer_name = ESCAPE
    model = tmp_path / "m\x1b[31m\udcff.onnx"
    model.write_bytes(proto.SerializeToString())
    for arguments in (
        ["cache", "list", "--folder", tmp_path / "cache"],
        ["cache", "list", "--folder", tmp_path / "cache", "--json"],
        ["cache", "verify", "--folder", tmp_path / "cache"],
        ["inspect", plan],
        ["inspect", plan, "--json"],
        ["inspect", model],
        ["inspect", model, "--json"],
        ["run", model, "--device", "cpu"],
        ["run", model, "--device", "cpu", "--json"],
        ["compare", model, "--device", "cpu"],
    ):
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "\x1b" not in done.output
        assert "\u202e" not in done.output
        assert not any(line.startswith("line [red]") for line in done.output.splitlines())
        if arguments[:2] == ["cache", "list"] and "--json" not in arguments:
            assert "[red]markup[/red]" in done.output.replace("\n", "").replace(" ", "")


def test_errors_and_logs_are_escaped() -> None:
    from fasttrt._cli.messages import LogFormatter

    record = logging.LogRecord("fasttrt", 30, "", 0, "%s", (ESCAPE,), None)
    for text in (LogFormatter().format(record), message(ESCAPE)):
        assert "\x1b" not in text
        assert "\n  line" in text
    assert "\x1b" not in str(fasttrt.ParseIssue(0, ESCAPE, ESCAPE, "why"))


def test_text_that_can_be_seen_stays() -> None:
    for text in ("plain", "é 日本語 😀", "a\u3000b", ""):
        assert printable(text) == printable_lines(text) == message(text) == text
    assert printable("a\tb\x9b\x00\u2028\ufeff") == "a\\tb\\x9b\\x00\\u2028\\ufeff"
    assert printable("\udcff\ud800") == "\\xff\\ud800"
    assert printable_lines("a\nb\r") == "a\nb\\r"


def test_times_beyond_the_calendar(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    plans.mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    path = forged(plans / "a.plan", b"{}")
    os.utime(path, (10**12, 10**12))
    assert len(cache.entries(tmp_path)) == 1
    assert CliRunner().invoke(app, ["cache", "list", "--folder", str(tmp_path)]).exit_code == 0
    assert cache._moment(1e300).year == 9999


def test_deep_nesting_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "fasttrt.toml").write_text("[freeze]\nx = " + "[" * 9999 + "]" * 9999)
    with pytest.raises(fasttrt.InputError, match="nested too deep"):
        fasttrt.load_config(tmp_path / "fasttrt.toml")
    from fasttrt._cli.values import engine_options

    with pytest.raises(fasttrt.InputError, match="--freeze: expected input=VALUE in JSON"):
        engine_options(freeze=["x=" + "[" * 99999 + "]" * 99999])
