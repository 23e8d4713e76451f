"""The cache's key: what changes a plan changes it, and what does not, does not."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import fasttrt
from fasttrt import BuildConfig, _core
from fasttrt._cache import key as key_module
from fasttrt._cache.fingerprints import SOURCES, builder_fingerprint
from fasttrt._cache.key import digest_of, key_parts, plain
from fasttrt._graph.digest import _add_message
from fasttrt._graph.model import OnnxModel
from fasttrt._plan.build_config import LOAD_OPTIONS, TF32_VARIABLE
from fasttrt._plan.tuned import BatchSizes, parse_tuned
from support import models
from support.process import python_output
from support.shared_objects import place

H100 = ("NVIDIA H100 80GB HBM3", 9, 0)

# For every option a value that is not its default; flags may be left out. A new option has to be
# added here.
OTHER: dict[str, Any] = {
    "workspace": 1 << 20,
    "optimization_level": 4,
    "profiling_verbosity": "detailed",
    "timing_cache": "timings",
    "max_aux_streams": 2,
    "hardware_compatibility": "ampere_plus",
    "tf32": False,
    "precision": "fp16",
    "nan": "propagate",
    "keep_fp32": ("Exp",),
    "conversion": "graph",
    "compute_capabilities": ("8.9", 12.0),
}


@pytest.fixture
def key(rtx_library: _core.Library) -> Callable[..., str]:
    """The key for some model on some GPU, with what a test changes of it."""

    def made(
        sha256: str = "ab", config: BuildConfig | None = None, shapes: Any = None,
        library: Any = rtx_library, gpu: Any = H100, extra: Any = None, tuned: Any = None,
    ) -> str:  # fmt: skip
        parts = key_parts(
            sha256, config or BuildConfig(), shapes, library, gpu, extra or {}, parse_tuned(tuned)
        )
        assert json.loads(json.dumps(parts)) == parts
        return digest_of(parts)

    return made


def _pair(name: str) -> tuple[BuildConfig, BuildConfig]:
    """Two that differ in one option only, with whatever flag that one needs."""
    default = getattr(BuildConfig(), name)
    assert isinstance(default, bool) or name in OTHER, f"give BuildConfig.{name} another value here"
    other = {name: OTHER.get(name, not default)}
    flags: list[dict[str, Any]] = [
        {},
        {"version_compatible": True},
        {"refit": True},
        {"precision": "fp16"},
    ]
    for needed in flags:
        with contextlib.suppress(fasttrt.InputError):
            return BuildConfig(**needed), BuildConfig(**(needed | other))
    raise AssertionError(f"BuildConfig.{name} needs another option with it")


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(BuildConfig)])
def test_every_option_that_changes_the_plan_changes_the_key(
    key: Callable[..., str], name: str
) -> None:
    one, other = _pair(name)
    assert [f.name for f in dataclasses.fields(BuildConfig)
            if getattr(one, f.name) != getattr(other, f.name)] == [name]  # fmt: skip
    assert (key(config=one) != key(config=other)) == (name not in LOAD_OPTIONS)


@pytest.mark.parametrize("name", sorted(LOAD_OPTIONS))
def test_what_is_not_in_the_key_does_not_reach_the_build(
    rtx_library: _core.Library, name: str
) -> None:
    asked = []
    for config in _pair(name):
        options = config.to_core(rtx_library)
        fields = [field for field in dir(options) if field[0] != "_" and field[:4] != "set_"]
        assert "refit" in fields
        asked.append({field: getattr(options, field) for field in fields})
    assert asked[0] == asked[1]


def test_what_else_is_given_changes_the_key(
    key: Callable[..., str], rtx_library: _core.Library, tmp_path: Path
) -> None:
    def like(**changed: str) -> SimpleNamespace:
        names = ("family", "version", "path", "parser_path")
        return SimpleNamespace(**{name: getattr(rtx_library, name) for name in names} | changed)

    moved = place(Path(rtx_library.path), tmp_path / "moved")
    assert key(library=like()) == key(library=like(path=str(moved))) == key()
    patched = Path(shutil.copy(rtx_library.path, tmp_path))
    with patched.open("r+b") as file:  # as another linker would: what it says of itself
        file.seek(256)
        file.write(b"another")
    shorter = Path(shutil.copy(rtx_library.path, tmp_path / "shorter"))
    os.truncate(shorter, shorter.stat().st_size - 1)
    given: list[dict[str, Any]] = [
        {},
        {"sha256": "ac"},
        {"shapes": {"x": (1, 3)}},
        {"shapes": {"x": (2, 3)}},
        {"shapes": {"y": (1, 3)}},
        {"shapes": [{"x": (1, 3)}, {"x": (2, 3)}]},
        {"shapes": [{"x": (2, 3)}, {"x": (1, 3)}]},
        {"library": like(version="1.99.0")},
        {"library": like(family="tensorrt")},
        {"library": like(path=str(patched))},
        {"library": like(path=str(shorter))},
        {"library": like(parser_path=str(patched))},
        {"library": like(parser_path="")},
        {"gpu": None},
        {"gpu": ("NVIDIA L40S", 8, 9)},
        {"gpu": (H100[0], 9, 1)},
        {"extra": {"plugins": ["ab"]}},
        {"extra": {"plugins": ["ac"]}},
        {"tuned": "auto"},
        {"tuned": BatchSizes((1, 8))},
        {"tuned": [1, 8]},
        {"tuned": [1]},
        {"tuned": {"batch": [1, 8]}},
        {"tuned": {"seq": [1, 8]}},
    ]
    assert len({key(**changed) for changed in given}) == len(given)
    assert key(tuned=[1, 8]) == key(tuned=(8, 1, 8))


def test_the_versions_of_ours_change_the_key(
    key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {key()}
    monkeypatch.setattr("fasttrt._cache.key.__version__", "99.0")
    keys.add(key())
    monkeypatch.setattr("fasttrt._cache.key.FORMAT", 99)
    keys.add(key())
    assert len(keys) == 3


def test_the_override_of_tf32_changes_the_key(
    key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TF32_VARIABLE, raising=False)
    keys = {key()}
    for value in ("0", "1"):
        monkeypatch.setenv(TF32_VARIABLE, value)
        keys.add(key())
    assert len(keys) == 3


@pytest.mark.parametrize(
    "spelling",
    [
        "1x3:8x3:32x3",
        [[1, 3], [8, 3], [32, 3]],
        ((np.int64(1), 3), (8, 3), (32, np.int32(3))),
    ],
)
def test_spellings_of_one_range_share_the_key(key: Callable[..., str], spelling: Any) -> None:
    expected = key(shapes={"x": ((1, 3), (8, 3), (32, 3))})
    assert key(shapes={"x": spelling}) == expected
    assert key(shapes=[{"x": spelling}]) == expected


@pytest.mark.parametrize("shapes", [{"x": "1xa"}, {"x": (1, 2.5)}, ["x"], [None]])
def test_shapes_that_cannot_be_read_are_refused(key: Callable[..., str], shapes: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="expected"):
        key(shapes=shapes)


def test_a_compatible_plan_is_shared_by_the_gpus_that_it_is_for(key: Callable[..., str]) -> None:
    l40s, a100, h200 = ("NVIDIA L40S", 8, 9), ("NVIDIA A100", 8, 0), ("NVIDIA H200", 9, 0)
    config = BuildConfig(hardware_compatibility="ampere_plus")
    assert len({key(config=config, gpu=gpu) for gpu in (l40s, a100, h200, H100, None)}) == 1
    config = BuildConfig(hardware_compatibility="same_compute_capability")
    assert key(config=config, gpu=h200) == key(config=config, gpu=H100)
    assert key(config=config, gpu=l40s) != key(config=config, gpu=H100)
    config = BuildConfig(compute_capabilities=("8.9", "9.0"))
    assert len({key(config=config, gpu=gpu) for gpu in (l40s, H100, None)}) == 1
    config = BuildConfig(compute_capabilities=("current",))
    assert len({key(config=config, gpu=gpu) for gpu in (l40s, h200, H100, None)}) == 4


def test_the_key_is_the_same_in_every_process(key: Callable[..., str]) -> None:
    code = """
        import sys
        from fasttrt import BuildConfig
        from fasttrt._cache.key import digest_of, key_parts
        from fasttrt._library.discovery import find
        config = BuildConfig(workspace=5, compute_capabilities=("9.0",))
        extra = {"names": {"b", "a", "c"}, "path": sys.argv[1]}
        library = find(sys.argv[2], None)
        print(digest_of(key_parts("ab", config, {"x": "1x3", "y": "2"}, library, None, extra)))
    """
    path = fasttrt.library("rtx").path
    printed = {python_output(code, "there", path, PYTHONHASHSEED=str(seed)) for seed in range(1, 4)}
    config = BuildConfig(workspace=5, compute_capabilities=("9.0",))
    extra = {"path": "there", "names": {"c", "b", "a"}}
    assert printed == {key(config=config, shapes={"y": "2", "x": "1x3"}, gpu=None, extra=extra)}


def test_plans_of_other_code_are_not_found(
    key: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_parser/passes.py", "_parser/inner/rules.py", "_builder/build.py", "_cli/top.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}")
    found = [builder_fingerprint.__wrapped__(tmp_path)]
    for name in ("_parser/passes.py", "_parser/inner/rules.py", "_builder/build.py"):
        with (tmp_path / name).open("a") as file:
            file.write("x")
        found.append(builder_fingerprint.__wrapped__(tmp_path))
    (tmp_path / "_parser" / "passes.py").rename(tmp_path / "_parser" / "lists.py")
    found.append(builder_fingerprint.__wrapped__(tmp_path))
    assert len(set(found)) == 5
    (tmp_path / "_cli" / "top.py").write_text("")
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    assert builder_fingerprint.__wrapped__(tmp_path) == found[-1]
    assert builder_fingerprint.__wrapped__(tmp_path / "elsewhere") == found[-1]

    before = key()
    monkeypatch.setattr(key_module, "builder_fingerprint", lambda: "another")
    assert key() != before


def test_all_code_that_builds_counts(tmp_path: Path) -> None:
    """Else plans of other code are found: each sub-package that a build needs, but for a few."""
    code = """
        import sys
        import fasttrt
        fasttrt.build(sys.argv[1], precision="fp16")
        print(*{name.split(".")[1] for name in sys.modules if name.startswith("fasttrt._")})
    """
    loaded = set(python_output(code, models.mlp().save(tmp_path / "m.onnx")).split())
    assert loaded - set(SOURCES) <= {
        "_cache", "_common", "_core", "_engine", "_library", "_runtime", "_terminal", "_version"
    }  # fmt: skip
    assert set(SOURCES) <= loaded


def test_values_in_plain_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        "number": np.int64(5), "real": np.float32(0.5), "flag": np.bool_(True), "path": Path("a"),
        "nested": BuildConfig(workspace=7), "bytes": b"\x01", "set": {3, 1}, "none": None,
    }  # fmt: skip
    found = plain(given)
    assert json.loads(json.dumps(found)) == found
    assert found["nested"]["workspace"] == 7
    assert found["path"] == str(tmp_path / "a")
    del found["nested"]
    assert found == {
        "number": 5, "real": 0.5, "flag": True, "path": str(tmp_path / "a"),
        "bytes": "01", "set": [1, 3], "none": None,
    }  # fmt: skip
    assert found["number"] is not True
    assert json.dumps(plain(1)) != json.dumps(plain(True))


def test_what_has_no_fixed_form_is_refused() -> None:
    with pytest.raises(TypeError, match="the cache's key cannot hold a object"):
        plain({"callback": object()})


# The model's content


def _changed(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def test_external_data_of_a_changed_model_counts(tmp_path: Path) -> None:
    path = models.with_external_data(models.mlp().proto, tmp_path / "m.onnx")

    def hashes() -> list[str]:
        model = OnnxModel(path)
        return [model.sha256(), model.with_named_axes([("x", 0)]).sha256()]

    before = hashes()
    assert before == hashes()
    assert before[0] != before[1]
    data = tmp_path / "m.onnx.data"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    after = hashes()
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_bytes_that_move_to_another_file_count(tmp_path: Path) -> None:
    """The same bytes in the same order, cut elsewhere: the weights are others."""
    first, second = (np.arange(8, dtype=np.float32) + shift for shift in (1, 2))
    proto = models.elementwise((8,)).proto
    del proto.graph.initializer[:]
    for name, values in (("a", first), ("b", second)):
        tensor = numpy_helper.from_array(values, name)
        onnx.external_data_helper.set_external_data(tensor, f"{name}.data", 0)
        tensor.ClearField("raw_data")
        proto.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    whole = first.tobytes() + second.tobytes() + bytes(range(16))
    hashes = set()
    for cut in (32, 36, 48):
        (tmp_path / "a.data").write_bytes(whole[:cut])
        (tmp_path / "b.data").write_bytes(whole[cut:])
        hashes.add(OnnxModel(tmp_path / "m.onnx").sha256())
    assert len(hashes) == 3


def test_a_model_too_large_to_serialize_is_hashed_by_parts() -> None:
    def hashed(proto: onnx.ModelProto, most: int = 40) -> str:
        digest = hashlib.sha256()
        _add_message(digest, proto, most)
        return digest.hexdigest()

    proto = models.mlp().proto
    assert hashed(proto) == hashed(_changed(proto))
    assert hashed(proto, proto.ByteSize()) == hashlib.sha256(proto.SerializeToString()).hexdigest()
    weight = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weight[3, 5] += 1
    others = [_changed(proto) for _ in range(7)]
    others[0].graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w0"))
    others[1].opset_import[0].version -= 1
    others[2].graph.node[1].attribute.append(onnx.helper.make_attribute("alpha", 0.5))
    others[3].graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    others[4].graph.node[0].input[0], others[4].graph.node[0].input[1] = "w0", "x"
    others[5].functions.add(name="f", domain="d").node.add(op_type="Relu")
    others[6].graph.node[0].name += "a"
    assert len({hashed(other) for other in (proto, *others)}) == 8
