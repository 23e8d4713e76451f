"""Saved plans: what comes back, and what damage is found."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fasttrt
from fasttrt import EngineLoadError, Plan
from fasttrt._plan.plan_file import is_plan, is_vendor_plan
from support.models import mlp
from support.process import python_output
from support.randomness import new_rng

HEADER = 72


def some_plan(size: int = 5000) -> Plan:
    """Not a plan that TensorRT would take, which nothing here asks."""
    data = b"ftrt" + new_rng().bytes(size - 4)
    return Plan(data, {"fasttrt": "0", "inputs": [{"name": "é", "shape": [-1, 3]}], "gpu": None})


def vendor_plan(size: int = 400, magic: bytes = b"ftrt") -> bytes:
    """The vendor's header, as far as it is known, before random bytes."""
    head = magic.ljust(16, b"\1") + struct.pack("<Q", size) + bytes([1, 6, 1, 0])
    return head + new_rng().bytes(size - len(head))


@pytest.fixture(scope="module")
def built(build: Callable[..., Plan]) -> Plan:
    return build(mlp(batch=2).proto)


def test_a_file_brings_everything_back(tmp_path: Path) -> None:
    plan = some_plan()
    plan.save(tmp_path / "m.plan")
    loaded = Plan.load(tmp_path / "m.plan")
    assert loaded == plan
    assert (tmp_path / "m.plan").read_bytes() == plan.to_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["m.plan"]


def test_a_plan_without_metadata_comes_back() -> None:
    plan = Plan(b"vtrt and more")
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_the_vendors_part_begins_on_a_page() -> None:
    for size in (1, 4096, 5000):
        plan = some_plan(max(size, 8))
        content = plan.to_bytes()
        assert content.index(plan.data) % 4096 == 0
        assert len(content) - content.index(plan.data) == len(plan.data)


def test_a_built_plan_tells_what_it_was_built_from_with_and_for(
    built: Plan, rtx: fasttrt.LibraryInfo
) -> None:
    metadata = built.metadata
    assert metadata["fasttrt"] == fasttrt.__version__
    assert metadata["library"] == {"family": "rtx", "version": rtx.version}
    assert len(bytes.fromhex(metadata["model_sha256"])) == 32
    assert [(t["name"], t["dtype"], t["shape"]) for t in metadata["inputs"]] == [
        ("x", "float32", [2, 16])
    ]
    assert [(t["name"], t["dtype"], t["shape"]) for t in metadata["outputs"]] == [
        ("y", "float32", [2, 8])
    ]
    assert metadata["profiles"] == []
    assert metadata["config"]["tf32"] is True
    assert json.loads(json.dumps(metadata)) == metadata


def test_a_plan_built_without_a_gpu_says_so(built: Plan, no_gpu: str) -> None:
    assert built.metadata["gpu"] is None


def test_metadata_is_read_as_it_was_written(built: Plan) -> None:
    assert Plan.from_bytes(built.to_bytes()) == built


def test_a_loaded_plan_is_mapped(tmp_path: Path) -> None:
    plan = some_plan(1 << 20)
    plan.save(tmp_path / "m.plan")
    (tmp_path / "vendor.plan").write_bytes(content := vendor_plan())
    for name, expected in (("m.plan", plan.data), ("vendor.plan", content)):
        loaded = Plan.load(tmp_path / name)
        assert isinstance(loaded.data, memoryview)
        assert loaded.data.readonly
        assert name in Path("/proc/self/maps").read_text()
        (tmp_path / name).unlink()
        assert loaded.data == expected
        del loaded
        assert name not in Path("/proc/self/maps").read_text()


def test_saving_over_the_file_leaves_a_loaded_plan_as_it_was(tmp_path: Path) -> None:
    first, second = some_plan(), some_plan()
    first.save(tmp_path / "m.plan")
    loaded = Plan.load(tmp_path / "m.plan")
    second.save(tmp_path / "m.plan")
    assert loaded == first
    loaded.save(tmp_path / "m.plan")
    assert Plan.load(tmp_path / "m.plan") == first


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    """Whoever waits for its other end may wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    odd = [(tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")]
    for path, kind in odd:
        with pytest.raises(fasttrt.InputError, match=f"expected a file, got {kind}"):
            Plan.load(path)


def test_loaded_plans_can_be_copied_and_pickled(tmp_path: Path) -> None:
    plan = some_plan()
    plan.save(tmp_path / "m.plan")
    loaded = Plan.load(tmp_path / "m.plan")
    for copied in (copy.copy(loaded), copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert copied == plan
        assert copied.digest == plan.digest


def test_the_digest_is_that_of_the_vendors_plan(tmp_path: Path) -> None:
    plan = some_plan()
    assert plan.digest == hashlib.sha256(plan.data).hexdigest()
    assert Plan.from_bytes(plan.to_bytes()).digest == plan.digest
    assert Plan(plan.data, {}).digest == plan.digest
    assert some_plan().digest != plan.digest


def test_the_checksum_is_what_the_format_says() -> None:
    plan = some_plan()
    content = plan.to_bytes()
    offset = content.index(plan.data)
    parts = content[:40] + content[HEADER:offset] + hashlib.sha256(plan.data).digest()
    assert content[40:HEADER] == hashlib.sha256(parts).digest()


def test_metadata_that_is_not_json_is_found() -> None:
    for metadata in (b"{", b"\xff", b"[1]"):
        data = b"ftrt"
        padded = metadata.ljust(4096 - HEADER, b"\0")
        fields = struct.pack("<8sIIQQQ", b"FASTTRT\0", 2, 0, len(metadata), 4096, len(data))
        inner = hashlib.sha256(data).digest()
        digest = hashlib.sha256(fields + padded + inner).digest()
        with pytest.raises(EngineLoadError, match=r"its metadata is not (JSON|a JSON object)"):
            Plan.from_bytes(fields + digest + padded + data)


def test_any_flipped_bit_is_found() -> None:
    content = some_plan().to_bytes()
    rng = new_rng()
    positions = [*range(8, HEADER + 40), *rng.integers(HEADER, len(content), 300).tolist()]
    for position in [*positions, len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(EngineLoadError, match=r"damaged|truncated|format"):
            Plan.from_bytes(bytes(damaged))


def test_any_damage_to_the_magic_is_found() -> None:
    content = some_plan().to_bytes()
    for position in range(8):
        damaged = bytearray(content)
        damaged[position] ^= 0x20
        with pytest.raises(EngineLoadError, match="the plan is not a plan"):
            Plan.from_bytes(bytes(damaged))


def test_any_cut_is_found() -> None:
    content = some_plan().to_bytes()
    lengths = [*range(HEADER + 3), *new_rng().integers(HEADER, len(content), 100)]
    for length in [*lengths, len(content) - 1]:
        with pytest.raises(EngineLoadError, match=r"the plan is (not a plan|truncated)"):
            Plan.from_bytes(content[:length])


def test_damage_to_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    content = some_plan().to_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    files = {"a.plan": content[:-1], "b.plan": content[:50], "c.plan": bytes(damaged)}
    for name, wrong in files.items():
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(EngineLoadError, match=f"{name} is (truncated|damaged)"):
            Plan.load(tmp_path / name)


def test_more_bytes_than_there_should_be_are_found() -> None:
    with pytest.raises(EngineLoadError, match="expected 9096 bytes, got 9097"):
        Plan.from_bytes(some_plan().to_bytes() + b"\0")


def test_another_format_is_refused_by_number() -> None:
    content = bytearray(some_plan().to_bytes())
    content[8:12] = (1).to_bytes(4, "little")
    with pytest.raises(EngineLoadError, match="the plan has format 1; this fasttrt reads format 2"):
        Plan.from_bytes(bytes(content))


def test_other_files_are_no_plans(tmp_path: Path) -> None:
    for name, content in {"m.txt": b"hello", "m.onnx": mlp().to_bytes(), "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_plan(content)
        with pytest.raises(EngineLoadError, match=f"{name} is not a plan"):
            Plan.load(tmp_path / name)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(fasttrt.MissingFileError):
        Plan.load(tmp_path / "m.plan")


@pytest.mark.parametrize(("magic", "family"), [(b"ftrt", "tensorrt"), (b"vtrt", "rtx")])
def test_the_vendors_own_plan_names_its_library(magic: bytes, family: str) -> None:
    content = vendor_plan(magic=magic)
    plan = Plan.from_bytes(content)
    assert plan.data == content
    assert plan.metadata == {"library": {"family": family, "version": "1.6.1"}}
    assert is_vendor_plan(content)


def test_a_vendors_plan_of_an_unknown_kind_is_left_to_the_vendor() -> None:
    content = vendor_plan(magic=b"qtrt")
    assert Plan.from_bytes(content) == Plan(content, {})


def test_a_built_plan_can_be_read_as_the_vendors(built: Plan, rtx: fasttrt.LibraryInfo) -> None:
    plain = Plan.from_bytes(built.data)
    assert plain.metadata == {"library": {"family": "rtx", "version": rtx.version}}
    assert is_plan(built.data)


def test_any_cut_of_the_vendors_plan_is_found(built: Plan) -> None:
    rng = new_rng()
    for length in [*range(4, 40), *rng.integers(40, len(built.data), 50), len(built.data) - 1]:
        with pytest.raises(EngineLoadError, match="the plan is truncated"):
            Plan.from_bytes(built.data[:length])


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "m.plan"
    old = some_plan()
    old.save(target)
    with pytest.raises(TypeError):
        Plan(b"new", {"not JSON": object()}).save(target)
    assert Plan.load(target) == old
    assert [file.name for file in tmp_path.iterdir()] == ["m.plan"]


def test_a_write_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        from fasttrt import Plan
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        Plan(b"ftrt old").save(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            Plan(b"ftrt new" * (1 << 20)).save(sys.argv[1])
        except OSError:
            print(bytes(Plan.load(sys.argv[1]).data))
    """
    assert python_output(code, tmp_path / "m.plan") == "b'ftrt old'"
    assert [file.name for file in tmp_path.iterdir()] == ["m.plan"]


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "m.plan").mkdir()
    with pytest.raises(fasttrt.InputError, match="which is a folder"):
        some_plan().save(tmp_path / "m.plan")
    assert [file.name for file in tmp_path.iterdir()] == ["m.plan"]


def test_threads_may_save_to_one_path(tmp_path: Path) -> None:
    plans = [some_plan(1 << 20) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda plan: plan.save(tmp_path / "m.plan"), plans * 4):
            assert Plan.load(tmp_path / "m.plan") in plans
    assert [file.name for file in tmp_path.iterdir()] == ["m.plan"]


def test_a_plan_does_not_print_its_content() -> None:
    assert len(repr(some_plan(100_000))) < 500
