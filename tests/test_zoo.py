"""Small networks as people export them today, whose graphs are kept, build in each precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._precision.placements import DEFAULT
from support.zoo import NETWORKS
from support.zoo.running import profile
from support.zoo.skeletons import load

Precision = Literal["fp32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
GRAPHS = sorted((Path(__file__).parent / "data" / "zoo").glob("*.onnxtxt"))


def test_there_are_graphs() -> None:
    assert len(GRAPHS) >= 15
    assert {path.stem for path in GRAPHS} <= NETWORKS.keys()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_it_builds(
    path: Path,
    precision: Precision,
    rtx: fasttrt.LibraryInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    proto = load(path)
    shapes = profile(NETWORKS[path.stem], OnnxModel(proto), small=True)
    plan = fasttrt.build(proto, precision=precision, shapes=shapes, library=rtx.path)
    assert not [line for line in plan.metadata["changes"] if "a zero is appended" in line]
    if precision != "fp32":
        assert plan.metadata["conversion"]["placement"] == DEFAULT
        assert plan.metadata["conversion"]["converted"] > 0
