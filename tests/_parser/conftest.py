"""Fixtures of the tests of passes."""

from __future__ import annotations

import pytest

from fasttrt import _core
from fasttrt._parser.pipeline import Target


@pytest.fixture
def target(rtx_library: _core.Library) -> Target:
    """TensorRT-RTX."""
    return Target(rtx_library)
