"""Which of the two distributions is installed, and how its parts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttrt._cli.doctor import examine
from fasttrt._common.optional_packages import install_command, versions

BOTH = (
    "fasttrt and fasttrt-runtime are both installed, and overwrite each other: "
    "pip uninstall fasttrt fasttrt-runtime, and install one of them"
)


def install(name: str, folder: Path) -> None:
    """Write what pip writes of a distribution, but for its files."""
    info = folder / f"{name.replace('-', '_')}-9.8.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.8\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.skipif(bool(versions("fasttrt-runtime")), reason="fasttrt-runtime is installed")
def test_what_fasttrt_needs_comes_with_it_and_the_rest_with_an_extra(folder: Path) -> None:
    install("fasttrt", folder)
    assert install_command("onnx") == install_command("cli") == "pip install fasttrt"
    assert install_command("serve") == "pip install 'fasttrt[serve]'"
    assert BOTH not in examine().advice


def test_the_small_installation_is_not_overwritten_by_the_large_one(folder: Path) -> None:
    install("fasttrt-runtime", folder)
    assert versions("fasttrt-runtime", "no-such-thing") == {"fasttrt-runtime": "9.8"}
    assert install_command("onnx") == "pip install 'fasttrt-runtime[onnx]'"
    assert install_command("serve") == "pip install 'fasttrt-runtime[serve]'"


def test_doctor_advises_against_both(folder: Path) -> None:
    for name in ("fasttrt", "fasttrt-runtime"):
        install(name, folder)
    assert BOTH in examine().advice
