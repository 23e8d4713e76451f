"""The README as the package index shows it; scikit-build-core calls this when it builds.

A few lines of our own, since a plugin that does it would be one more package to have beforehand for
`pip install --no-build-isolation`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
HOME = r'^Homepage = "(.+)"$'
VERSION = r'^__version__ = "(.+)"$'


def absolute(text: str, home: str, version: str) -> str:
    """Let relative links lead to the repository, at the version's tag; images to their content."""

    def link(match: re.Match[str]) -> str:
        kind = "raw" if match[0].startswith("!") else "blob"
        return f"{match[0]}{home}/{kind}/v{version}/"

    return re.sub(r"!?\[[^]]*\]\((?!https?:|#)", link, text)


def dynamic_metadata(field: str, settings: dict[str, Any], *_: object) -> dict[str, str]:
    """Return the field ``readme``; see scikit-build-core's documentation of providers."""
    if field != "readme" or settings:
        raise ValueError(f"expected the field readme without settings, got {field}: {settings}")
    home, version = (
        _only(pattern, ROOT / file)
        for pattern, file in ((HOME, "pyproject.toml"), (VERSION, "python/fasttrt/_version.py"))
    )
    text = (ROOT / "README.md").read_text("utf-8")
    return {"content-type": "text/markdown", "text": absolute(text, home, version)}


def _only(pattern: str, file: Path) -> str:
    (found,) = re.findall(pattern, file.read_text("utf-8"), re.MULTILINE)
    return str(found)
