"""Models that TensorRT 8.6's parser does not survive, so another process has to try them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.gpu import is_v8, library, report, run_child
from support.real_models import RealModel

_REFUSED = 3
_CODE = f"""
import json, sys, fasttrt
try:
    fasttrt.build(sys.argv[1], device="cuda", progress=False, **json.loads(sys.argv[2]))
except (fasttrt.ParseError, fasttrt.BuildError) as error:
    print(error)
    sys.exit({_REFUSED})
"""


def expect_refusal_by_v8(model: RealModel, **options: Any) -> None:
    """An expected failure if TensorRT 8.6 refuses a model by name.

    Nothing with another library, or where it builds. Whatever else happens fails the test: it is
    tried in a process of its own, as 8.6.0 used to end it over some models.

    Args:
        model: one that is there.
        options: ``freeze=``, ``dims=`` and ``shapes=`` of the build.
    """
    if not is_v8():
        return
    assert model.path is not None
    child = run_child(_CODE, model.path, json.dumps(options), timeout=280)
    report("refusals", model=model.name, code=child.returncode, said=child.stdout)
    if child.returncode == _REFUSED:
        assert f"TensorRT {library().version}" in child.stdout
        pytest.xfail(f"{library()} refuses {model.name}: {child.stdout}")
    assert child.returncode == 0, child.stderr
