"""``fasttrt profile``: layers and nodes from recorded data, tables, traces, charts."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fasttrt import Engine, Error, InputError
from fasttrt._bench import bars
from fasttrt._bench import layer_profile as layers
from fasttrt._cli.profile import profile
from support import models
from support.randomness import new_rng

RECORDED = (Path(__file__).parents[1] / "data/inspector_rtx_1_6_1.json").read_text()
"""The first layers that TensorRT-RTX 1.6.1 told of conv0, relu0, mean, mm in float16."""
NAMES = ("__mye196_0_myl0_0", "__myl_Move_myl0_1", "conv0_myl0_2", "not in the inspector")
app = typer.Typer()
app.command()(profile)


@pytest.fixture
def found() -> tuple[layers.Layer, ...]:
    times = new_rng().uniform(0.01, 0.02, (4, 5))
    times[2] += 1  # the convolution takes longest
    return layers.layers(list(zip(NAMES, times.tolist(), strict=True)), RECORDED)


def test_layers_have_the_nodes_that_the_inspector_tells(found: tuple[layers.Layer, ...]) -> None:
    assert [layer.name for layer in found] == list(NAMES)
    assert [layer.nodes for layer in found] == [(), (), ("conv0", "relu0"), ()]


def test_bare_names_tell_no_nodes() -> None:
    assert layers.onnx_nodes('{"Layers": ["conv0_myl0_2"]}') == {}


def test_nodes_are_read_past_raw_control_characters() -> None:
    """As TensorRT 8.6 writes them between the nodes of a layer."""
    metadata = "[ONNX Layer: a]\x1f[ONNX Layer: b]"
    told = f'{{"Layers": [{{"Name": "a + b", "Metadata": "{metadata}"}}]}}'
    with pytest.raises(json.JSONDecodeError, match="Invalid control character"):
        json.loads(told)
    assert layers.onnx_nodes(told) == {"a + b": ("a", "b")}


def test_shares_add_up_and_are_sorted(found: tuple[layers.Layer, ...]) -> None:
    ranked = layers.shares(found)
    values = [share for _, share in ranked]
    assert ranked[0][0].name == "conv0_myl0_2"
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)
    times = np.array([layer.times for layer in found])
    expected = times.sum(axis=1) / times.sum()
    for layer, share in ranked:
        assert share == pytest.approx(expected[NAMES.index(layer.name)])
    document = layers.to_json(found)
    assert document["runs"] == 5
    assert document["layers"][0]["onnx_nodes"] == ["conv0", "relu0"]
    assert document["layers"][0]["median_ms"] == np.median(times[2])


def test_the_trace_has_every_layer_of_every_run(found: tuple[layers.Layer, ...]) -> None:
    events = json.loads(json.dumps(layers.trace(found)))["traceEvents"]
    spans = [event for event in events if event.get("cat") == "layer"]
    assert len(spans) == 4 * 5
    for before, after in itertools.pairwise(spans):
        assert after["ts"] == pytest.approx(before["ts"] + before["dur"])  # none overlap
    assert sum(s["dur"] for s in spans) == pytest.approx(1000 * sum(x.total for x in found))
    runs = [event for event in events if event.get("cat") == "run"]
    assert [run["ts"] for run in runs] == [spans[4 * i]["ts"] for i in range(5)]


def test_the_table_shows_the_greatest(found: tuple[layers.Layer, ...]) -> None:
    text = "\n".join(layers.table(found, 1))
    assert "conv0, relu0" in text
    assert "1 of 4 layers" in text
    assert "Move" not in text


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_the_chart_is_written(found: Any, suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"chart{suffix}"
    bars.draw(path, found, "a $title")
    content = path.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    else:
        assert b"<svg" in content
        assert b"<!doctype html>" in content


def test_the_cpu_is_refused(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    done = CliRunner().invoke(app, [str(path), "--device", "cpu"])
    assert isinstance(done.exception, InputError)
    assert "--device" in str(done.exception)


def test_without_a_gpu_the_error_says_so(tmp_path: Path) -> None:
    path = models.mlp().save(tmp_path / "m.onnx")
    try:
        Engine(path, device="cuda", cache=False).close()
    except Error as error:
        expected = error
    else:
        pytest.skip("there is a GPU")
    done = CliRunner().invoke(app, [str(path)])
    assert type(done.exception) is type(expected)
