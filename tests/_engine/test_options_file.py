"""`fasttrt.load_config`: what a fasttrt.toml may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._engine.options_file import dumps


def load(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "fasttrt.toml"
    file.write_text(text)
    return fasttrt.load_config(file)


def test_every_table_is_read(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        '[engine]\nprecision = "fp16"\ncontexts = 3\ncuda_graph = false\ntuned = [1, 8]\n'
        "[build]\noptimization_level = 4\ntf32 = true\nkeep_fp32 = []\n"
        '[batching]\nmax_size = 8\nsizes = [4, 8]\n[shapes]\n"a.b" = "1x3:2x3:4x3"\n'
        "[freeze]\naxes = [[1], [2]]\nscale = 0.5\n[dims]\nwidth = 320\n",
    )
    assert found == {
        "precision": "fp16",
        "contexts": 3,
        "cuda_graph": False,
        "tuned": [1, 8],
        "config": fasttrt.BuildConfig(optimization_level=4, tf32=True, keep_fp32=[]),
        "batching": fasttrt.Batching(8, sizes=(4, 8)),
        "shapes": {"a.b": "1x3:2x3:4x3"},
        "freeze": {"axes": [[1], [2]], "scale": 0.5},
        "dims": {"width": 320},
    }


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    name = 'quote " backslash \\ é'
    text = dumps({"engine": {"contexts": 1}, "build": {}, "shapes": {name: "1x2"}}, "why\nso")
    assert load(tmp_path, text) == {"contexts": 1, "shapes": {name: "1x2"}}
    values = {"a": [[1, -2], [3.5, 1e-30]], "b": True, "c": [float("inf"), float("-inf")], "d": []}
    assert load(tmp_path, dumps({"freeze": values}, "")) == {"freeze": values}
    (nan,) = load(tmp_path, dumps({"freeze": {"x": [float("nan")]}}, ""))["freeze"]["x"]
    assert nan != nan


def test_tuned_sizes_in_all_forms(tmp_path: Path) -> None:
    assert load(tmp_path, 'engine.tuned = "none"') == {"tuned": None}
    assert load(tmp_path, 'engine.tuned = "auto"') == {"tuned": "auto"}
    assert load(tmp_path, "engine.tuned.batch = [1, 8]") == {"tuned": {"batch": [1, 8]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contexts", "expected TOML"),
        ("[motor]\n", "'motor' is not an option"),
        ("engine = 1\n", "engine: expected a table"),
        ("[engine]\ncontext = 1\n", "[engine]: 'context' is not an option"),
        ('[engine]\ncontexts = "2"\n', "engine.contexts: expected int, got '2'"),
        ("[engine]\ncontexts = true\n", "engine.contexts: expected int, got True"),
        ("[engine]\ntuned = [0]\n", 'engine.tuned: expected "auto", "none", a list'),
        ('[engine]\ntuned = "None"\n', "got 'None'"),
        (
            "[engine]\ncontexts = -3\n",
            "engine.contexts: expected an integer from 1 to 1024, got -3",
        ),
        ('[engine]\ndevice = "gpu"\n', 'engine.device: expected "auto", "cuda", "cuda:N", "cuda:0'),
        ('[engine]\nwait = "x"\n', 'engine.wait: expected "auto", "spin", "yield" or "block", got'),
        ('[engine]\nprecision = "fp8"\n', "engine.precision: expected"),
        ('[engine]\ncache = ""\n', "engine.cache: expected True, False or a folder, got ''"),
        ('[build]\nprecision = "fp8"\n', "build.precision: expected"),
        ("[engine]\ntuned = 8\n", "engine.tuned: expected str or list or dict, got 8"),
        ("[engine]\nplugins = [1]\n", "engine.plugins: expected file names"),
        ("[build]\nlevel = 1\n", "[build]: 'level' is not an option"),
        ("[build]\noptimization_level = 9\n", "optimization_level: expected an integer"),
        ("[build]\noptimization_level = true\n", "build.optimization_level: expected a number"),
        ('[build]\nrefit = "yes"\n', "build.refit: expected true or false"),
        ("[batching]\nmax_delay_us = 1\n", "batching.max_size: expected an integer"),
        (
            "[batching]\nmax_size = 0\n",
            "batching.max_size: expected an integer from 1 to 2147483647, got 0",
        ),
        ("[shapes]\nx = 1\n", "shapes.x: expected a shape as in"),
        ('[shapes]\nx = "8xx"\n', "shapes.x: expected a shape as in"),
        ('[dims]\nn = "1"\n', "dims.n: expected an integer >= 0, got '1'"),
        ("[dims]\nn = -1\n", "dims.n: expected an integer >= 0, got -1"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(fasttrt.InputError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith("fasttrt.toml: ")
    assert message in str(caught.value)
