"""``fasttrt doctor`` where engines run."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fasttrt._cli import app
from support.gpu import library, report

pytestmark = pytest.mark.gpu


def test_the_self_test_is_right() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    report("doctor", **found["self_test"])
    assert found["self_test"]["result"] == "right", found["self_test"]
    assert found["can_run"] is True
    assert done.exit_code == 0
    assert len(found["gpus"]) >= 1
    (used,) = (each for each in found["libraries"] if each["used"])
    assert used["version"] == library().version
