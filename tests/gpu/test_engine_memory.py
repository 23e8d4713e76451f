"""Models share a GPU's memory budget: one is unloaded for the other, and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

import fasttrt
from fasttrt._serving.engine_memory import bytes_of
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from support.assertions import assert_close
from support.gate import PATIENCE
from support.gpu import EXACT, product_tolerance
from support.models import mlp

pytestmark = pytest.mark.gpu


def test_two_models_share_memory_for_one(tmp_path: Path) -> None:
    networks = {name: mlp((256, 512, 64)) for name in ("a", "b")}
    for name, network in networks.items():
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(network.to_bytes())
    defaults = EngineDefaults({"device": "cuda", "config": EXACT})
    alone = Models(open_source(tmp_path), defaults=defaults)
    assert alone.start(["a"]) == {}
    size = bytes_of(alone.get("a"))
    weights = (256 * 512 + 512 * 64) * 4
    assert size > weights
    alone.close()

    models = Models(open_source(tmp_path), defaults=defaults, memory_budget=size * 3 // 2)
    try:
        assert models.start() == {}
        for name in "abab":
            (x,) = networks[name].inputs(batch=3)
            with models.use(name) as model:
                y = model.engine.submit(x).result(PATIENCE)
            assert_close(y, networks[name].reference(x), product_tolerance())
            other = models.get("b" if name == "a" else "a")
            assert bytes_of(model) > weights
            assert bytes_of(other) == 0
        assert models.is_ready()
    finally:
        models.close()

    small = Models(open_source(tmp_path), defaults=defaults, memory_budget=size // 2)
    try:
        message = r"a/1: needs \d+\.\d MiB of memory, which is more than the memory budget of"
        with pytest.raises(fasttrt.InputError, match=message):
            raise small.start(["a"])["a"]
    finally:
        small.close()
