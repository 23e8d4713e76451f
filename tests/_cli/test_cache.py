"""The command ``fasttrt cache``, run as users run it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import BuildConfig, Plan, cache
from fasttrt._cache.cached_build import cached_build
from fasttrt._cache.key import digest_of
from fasttrt._cache.store import Store
from fasttrt._graph.model import OnnxModel
from support import models
from support.command_line import run_command


def fasttrt_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, COLUMNS="200", **environment)


def output(*arguments: str, code: int = 0, **environment: str) -> str:
    done = fasttrt_command(*arguments, **environment)
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTTRT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(folder: Path, tmp_path: Path, rtx: fasttrt.LibraryInfo) -> cache.Entry:
    """The entry of a model that was built for the cache."""
    path = models.mlp(batch=2).save(tmp_path / "my model.onnx")
    cached_build(
        OnnxModel(path), BuildConfig(), shapes=None, library=rtx.path, device=None,
        progress=False, cache=folder,
    )  # fmt: skip
    (entry,) = cache.entries()
    return entry


def damaged(entry: cache.Entry) -> None:
    entry.path.write_bytes(entry.path.read_bytes()[:-1])


def test_the_path(folder: Path, tmp_path: Path) -> None:
    assert output("cache", "path") == f"{folder}\n"
    assert json.loads(output("cache", "path", "--json")) == {"path": str(folder)}
    other = str(tmp_path / "other")
    assert output("cache", "path", FASTTRT_CACHE_DIR=other) == f"{other}\n"


def test_an_empty_cache(folder: Path) -> None:
    assert f"0 engines; 0 bytes in {folder}" in output("cache", "list")
    assert json.loads(output("cache", "list", "--json")) == []
    assert "0 engines checked, 0 damaged" in output("cache", "verify")
    assert output("cache", "clear") == "0 bytes freed, 0 bytes left\n"
    assert not folder.exists()


def test_the_list_shows_what_the_entry_is(built: cache.Entry, rtx: fasttrt.LibraryInfo) -> None:
    text = output("cache", "list")
    assert built.key[:12] in text
    assert "my model.onnx" in text
    assert str(rtx) in text
    assert "1 engine;" in text
    (found,) = json.loads(output("cache", "list", "--json"))
    assert found["parts"] == built.parts
    assert digest_of(found["parts"]) == found["key"] == built.key
    assert (found["path"], found["size"]) == (str(built.path), built.path.stat().st_size)
    assert (found["model_name"], found["problem"]) == ("my model.onnx", "")


def test_another_folder_can_be_named(built: cache.Entry, folder: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    assert json.loads(output("cache", "list", "--json", "--folder", other)) == []
    named = ("--folder", str(folder))
    there: Any = json.loads(output("cache", "list", "--json", *named, FASTTRT_CACHE_DIR=other))
    assert [entry["key"] for entry in there] == [built.key]


def test_verify_tells_by_its_exit_code(built: cache.Entry, folder: Path) -> None:
    assert output("cache", "verify") == "1 engine checked, 0 damaged\n"
    Store(folder).write(Plan(b"ftrt", {"cache": {"a": 1}}))
    damaged(built)
    text = output("cache", "verify", code=1)
    assert str(built.path) in text
    assert "2 engines checked, 1 damaged" in text
    found = json.loads(output("cache", "verify", "--json", "--remove", code=1))
    assert found["checked"] == 2
    assert [entry["key"] for entry in found["damaged"]] == [built.key]
    assert not built.path.exists()
    assert json.loads(output("cache", "verify", "--json")) == {"checked": 1, "damaged": []}


def test_the_list_shows_what_is_damaged(built: cache.Entry) -> None:
    damaged(built)
    assert "is truncated or damaged" in output("cache", "list")
    (found,) = json.loads(output("cache", "list", "--json"))
    assert "is truncated or damaged" in found["problem"]


def test_clear_removes_everything(built: cache.Entry, folder: Path) -> None:
    size = built.path.stat().st_size
    assert json.loads(output("cache", "clear", "--json")) == {"freed": size, "left": 0}
    assert not built.path.exists()
    assert cache.entries() == []


def test_errors_are_a_line_and_a_code(folder: Path) -> None:
    done = fasttrt_command("cache", "list", FASTTRT_CACHE_SIZE="much")
    assert done.returncode == 2
    assert done.stderr.startswith("error: FASTTRT_CACHE_SIZE: expected bytes")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["cache", "lost"], ["cache", "list", "--no"], ["nothing"]])
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    done = fasttrt_command(*arguments)
    assert done.returncode == 2
    assert "No such" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_and_the_help() -> None:
    assert output("--version") == f"{fasttrt.__version__}\n"
    text = output("cache", "--help")
    assert all(command in text for command in ("list", "clear", "path", "verify"))
