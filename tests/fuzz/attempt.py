"""One case: something is damaged and given to fasttrt, which has to take it or refuse it."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fuzz import arrays, commands, models, options, plans
from fuzz.damage import Rng

KINDS: dict[str, Callable[[Rng, Path], str]] = {
    "plans": plans.attempt,
    "models": models.attempt,
    "arrays": arrays.attempt,
    "options": options.attempt,
    "commands": commands.attempt,
}


class Case(NamedTuple):
    """What is tried; the same again for the same three."""

    kind: str
    seed: int
    number: int


class Result(NamedTuple):
    """What came of it."""

    verdict: str
    """``"accepted"``, ``"refused"``, ``"outside"`` (an error of another class), ``"wrong"``."""
    detail: str = ""


class Wrong(AssertionError):  # noqa: N818
    """Something was taken that should have been refused, or the other way round."""


def attempt(case: Case) -> Result:
    """Try one, for a process that may not live through it."""
    import fasttrt

    rng = np.random.default_rng([case.seed, case.number, zlib.crc32(case.kind.encode())])
    folder = Path(tempfile.mkdtemp(prefix="fasttrt-fuzz-"))
    before = Path.cwd()
    os.chdir(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Result("accepted", KINDS[case.kind](rng, folder))
    except (fasttrt.Error, PermissionError) as error:
        return Result("refused", type(error).__name__)
    except AssertionError as error:
        return Result("wrong", _told(error))
    except Exception as error:
        return Result("outside", _told(error))
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def _told(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/fasttrt/" in f.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "the test"
    return f"{type(error).__name__} in {place}: {str(error)[:200]}"
