"""Tiny shared libraries that claim to be the vendor's, for what no installed one does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def compile_library(path: Path, source: str, soname: str | None = None) -> Path:
    """Compile C to a shared library; skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            compiler,
            *("-shared", "-fPIC", "-x", "c", "-"),
            *("-o", str(path), f"-Wl,-soname,{soname or path.name}"),
        ],
        input=source,
        text=True,
        check=True,
    )
    return path


def claim_version(folder: Path, soname: str, number: int) -> Path:
    """A library of this name that reports a version and does nothing else."""
    return compile_library(folder / soname, f"int getInferLibVersion() {{ return {number}; }}")


def place(library: Path, folder: Path) -> Path:
    """The vendor's library in another folder, as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(library, folder / library.name)
    except OSError:  # another file system
        shutil.copy(library, folder)
    return folder / library.name
