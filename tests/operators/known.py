"""Wrong answers that are left, and why; tests/operators/README.md has them in words."""

from __future__ import annotations

import re

KNOWN: dict[str, str] = {}
"""Of a pattern of the names of cases: what is wrong."""


def is_known(name: str) -> bool:
    """Whether a case is expected to be wrong."""
    return any(re.match(pattern, name) for pattern in KNOWN)
