"""Random values that are new in each session, and that a failed test can be given again.

A generator's seed follows from the session's, from the name of the test or fixture that makes it,
and from how many that one made before. The session's seed is in the header of pytest's output and
with each failure; FASTTRT_TEST_SEED sets it. Tests make no generator without a seed otherwise.
"""

from __future__ import annotations

import itertools
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

SEED = "FASTTRT_TEST_SEED"
_CHILD = "FASTTRT_TEST_CHILD"


class _Scope:
    """What draws: its name, and the numbers of its generators."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.generators = itertools.count()
        self.children = itertools.count()


# A process that a test starts begins with the test's name.
_scopes = [_Scope(os.environ.get(_CHILD) or os.environ.get("PYTEST_CURRENT_TEST", ""))]


def session_seed() -> int:
    """Return the seed that FASTTRT_TEST_SEED gives, for child processes too, or else a new one."""
    return int(os.environ.setdefault(SEED, str(secrets.randbits(32))))


@contextmanager
def drawing_for(name: str) -> Iterator[None]:
    """Let what is drawn within follow from this name, of a test or a fixture."""
    _scopes.append(_Scope(name))
    try:
        yield
    finally:
        _scopes.pop()


def new_rng() -> np.random.Generator:
    """Make a generator: another for each call, the same in each session with the same seed."""
    scope = _scopes[-1]
    words = [session_seed(), zlib.crc32(scope.name.encode()), next(scope.generators)]
    return np.random.default_rng(words)


def child_environment() -> dict[str, str]:
    """Return the variables with which a child process draws values of its own, repeatably."""
    scope = _scopes[-1]
    return {SEED: str(session_seed()), _CHILD: f"{scope.name} child {next(scope.children)}"}
