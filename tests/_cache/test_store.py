"""The cache's files: damage, disks that fail, what goes first, who may read."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import Plan, cache
from fasttrt._cache.checksummed_file import read_checksummed, write_checksummed
from fasttrt._cache.folder import CacheFolder, parse_cache, size_limit
from fasttrt._cache.key import digest_of
from fasttrt._cache.lock import entry_lock
from fasttrt._cache.store import KERNELS, Store
from fasttrt._common.file_digest import file_sha256
from support.process import python_output
from support.randomness import new_rng


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(root: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("fasttrt._cache.folder._warned", set())
    return Store(root)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the log warns of, as it comes."""
    messages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger("fasttrt").addHandler(listener)
    yield messages
    logging.getLogger("fasttrt").removeHandler(listener)


def parts(number: int = 0) -> dict[str, Any]:
    """Of a key; nothing here looks into them."""
    return {"model_sha256": f"{number:064x}", "library": {"family": "rtx", "version": "1.6.1"}}


def plan(number: int = 0, size: int = 5000) -> Plan:
    """For the store, to which the vendor's part is any bytes."""
    data = b"ftrt" + new_rng().bytes(size - 4)
    return Plan(data, {"gpu": None, "cache": parts(number)})


def filled(store: Store, count: int, size: int = 5000) -> list[Path]:
    """Entries 0, 1, ... in the order in which they were used."""
    paths = []
    for number in range(count):
        store.write(plan(number, size))
        path = store.path_of(digest_of(parts(number)))
        age = time.time() - 1000 + number
        os.utime(path, (age, age))
        paths.append(path)
    return paths


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# What comes back


def test_what_was_written_comes_back(store: Store, warnings: list[str]) -> None:
    assert store.read(parts()) is None
    written = plan()
    store.write(written)
    found = store.read(parts())
    assert found == written
    assert isinstance(found.data, memoryview)  # mapped
    assert found.digest == written.digest
    assert store.read(parts(1)) is None
    assert warnings == []


def test_an_entry_in_use_may_be_replaced_and_removed(store: Store) -> None:
    first, second = plan(), plan()
    store.write(first)
    found = store.read(parts())
    store.write(second)
    assert found == first
    assert store.read(parts()) == second
    assert cache.clear(store.folder.root) > 5000
    assert found == first


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "format", "zeros"])
def test_damage_is_reported_and_written_over(
    store: Store, warnings: list[str], damage: str
) -> None:
    store.write(plan())
    path = store.path_of(digest_of(parts()))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[new_rng().integers(len(content))] ^= 4
    elif damage == "cut":
        del content[new_rng().integers(1, len(content)) :]
    elif damage == "format":
        content[8] += 1
    elif damage == "zeros":
        content[:] = bytes(len(content))
    else:
        content[:] = b"" if damage == "empty" else b"hello"
    path.write_bytes(content)
    assert store.read(parts(), quietly=True) is None
    assert warnings == []
    assert store.read(parts()) is None
    (message,) = warnings
    assert "the cache's entry is not used" in message
    assert path.name in message
    (entry,) = cache.verify(store.folder.root)
    assert (entry.key, entry.path) == (path.stem, path)
    assert path.name in entry.problem
    store.write(again := plan())
    assert store.read(parts()) == again
    assert cache.verify(store.folder.root) == []


def test_an_entry_of_another_key_is_found_out(store: Store, warnings: list[str]) -> None:
    store.write(plan(1))
    one, two = (store.path_of(digest_of(parts(number))) for number in (1, 2))
    shutil.copy(one, two)
    assert store.read(parts(2)) is None
    assert f"{two} does not contain the plan that its name says" in warnings[0]
    Plan(b"ftrt", {"cache": "odd"}).save(two)
    assert store.read(parts(2)) is None
    Plan(b"ftrt plain").save(two)
    assert store.read(parts(2)) is None
    assert len(warnings) == 3
    assert [entry.path for entry in cache.verify(store.folder.root)] == [two]
    assert store.read(parts(1)) is not None


# Who may write


def test_all_of_it_is_private(store: Store, root: Path) -> None:
    before = os.umask(0)
    try:
        with entry_lock(store.folder, digest_of(parts()), "m"):
            store.write(plan())
            write_checksummed(store.folder, root / KERNELS / "a.kernels", b"abc")
            assert {path.suffix for path in root.rglob("*")} >= {".plan", ".kernels", ".json"}
            found = [root, *root.rglob("*")]
            assert {mode(path) for path in found if path.is_dir()} == {0o700}
            assert {mode(path) for path in found if path.is_file()} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.parametrize("loose", ["root", "folder", "file"])
def test_what_others_may_write_is_not_trusted(
    store: Store, root: Path, warnings: list[str], loose: str
) -> None:
    store.write(plan())
    file = store.path_of(digest_of(parts()))
    place = {"root": root, "folder": file.parent, "file": file}[loose]
    place.chmod(mode(place) | 0o020)
    assert store.read(parts()) is None
    assert f"other users may write {place} (mode" in warnings[0]
    content = file.read_bytes()
    store.write(plan())
    if loose == "file":  # in whose place a new one was put
        assert store.read(parts()) is not None
        assert mode(file) == 0o600
    else:
        assert file.read_bytes() == content
        assert mode(place) == 0o720  # and no permissions were changed


def test_another_users_files_are_not_trusted(store: Store, warnings: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    store.write(plan())
    os.chown(store.path_of(digest_of(parts())), 12345, -1)
    assert store.read(parts()) is None
    assert "belongs to user 12345" in warnings[0]


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "dangling"])
def test_links_and_pipes_are_not_followed(
    store: Store, root: Path, tmp_path: Path, warnings: list[str], kind: str
) -> None:
    store.write(plan())
    path = store.path_of(digest_of(parts()))
    target = tmp_path / "target"
    path.rename(target)
    content = target.read_bytes()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.symlink_to(target if kind == "file" else tmp_path / "nothing")
    assert store.read(parts()) is None
    assert "the cache's entry is not used" in warnings[0]
    store.write(again := plan())
    if kind == "folder":
        assert "does not take the plan" in warnings[-1]
    else:
        assert store.read(parts()) == again
        assert not path.is_symlink()
    assert target.read_bytes() == content
    assert not (tmp_path / "nothing").exists()


def test_partial_files_are_not_written_through_links(root: Path, tmp_path: Path) -> None:
    """Their names cannot be guessed, and what is there already is never opened."""
    from fasttrt._common.output_file import replacing

    target = tmp_path / "target"
    target.write_bytes(b"precious")
    link = tmp_path / "link.plan"
    link.symlink_to(target)
    with replacing(link) as stream:
        stream.write(b"new")
    assert target.read_bytes() == b"precious"
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()


# Disks that fail


def test_a_folder_that_cannot_be_made_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr("fasttrt._cache.folder._warned", set())
    (tmp_path / "file").write_text("no folder")
    store = Store(tmp_path / "file" / "cache")
    for number in range(3):
        assert store.read(parts(), quietly=True) is None
        with entry_lock(store.folder, digest_of(parts(number)), "m"):
            store.write(plan(number))
    assert len(warnings) == 2  # of the lock, and of the plan
    assert cache.entries(tmp_path / "file" / "cache") == []
    assert cache.clear(tmp_path / "file" / "cache") == 0


def test_a_file_too_large_for_the_disk_leaves_the_old_entry(root: Path) -> None:
    """The limit on a process's files fails a write midway, as a full disk does."""
    code = """
        import logging, resource, sys
        from pathlib import Path
        from fasttrt import Plan
        from fasttrt._cache.key import digest_of
        from fasttrt._cache.store import Store
        parts = {"model_sha256": "0"}
        store = Store(Path(sys.argv[1]))
        store.write(old := Plan(b"ftrt old", {"cache": parts}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        for number in range(3):
            store.write(Plan(b"ftrt new" * (1 << 18), {"cache": parts, "number": number}))
            assert store.read(parts) == old
        print(sorted(path.name for path in Path(sys.argv[1]).rglob("*.*")))
    """
    warning, found = python_output(code, root).splitlines()
    assert "does not take the plan: [Errno 27]" in warning
    assert found.count(".plan") == 1
    assert "partial" not in found


# What goes first


def test_the_least_recently_used_goes_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(root)
    paths = filled(store, 5)
    size = paths[0].stat().st_size
    assert store.read(parts(0)) is not None  # which is the most recently used then
    monkeypatch.setenv("FASTTRT_CACHE_SIZE", str(3 * size))
    Store(root).write(plan(5))
    left = {path.name for path in (root / "plans").iterdir()}
    assert left == {store.path_of(digest_of(parts(n))).name for n in (0, 4, 5)}
    assert cache.size(root) == 3 * size


def test_kernels_and_timings_count_and_go_too(root: Path) -> None:
    store = Store(root)
    paths = filled(store, 2)
    kernels = root / KERNELS / "a.kernels"
    write_checksummed(store.folder, kernels, bytes(7000))
    os.utime(kernels, (1, 1))
    assert cache.size(root) == 2 * paths[0].stat().st_size + kernels.stat().st_size
    assert cache.evict(2 * paths[0].stat().st_size, root) > 7000
    assert names(root / KERNELS) == []
    assert cache.evict(None, root) == 0


def test_what_is_being_built_stays(root: Path) -> None:
    store = Store(root)
    paths = filled(store, 3)
    with entry_lock(store.folder, paths[1].stem, "m"):
        assert cache.clear(root) > 0
        assert list((root / "plans").iterdir()) == [paths[1]]
    cache.clear(root)
    assert list((root / "plans").iterdir()) == []


def test_a_plan_larger_than_the_cache_is_not_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    paths = filled(Store(root), 2)
    monkeypatch.setenv("FASTTRT_CACHE_SIZE", "100k")
    store = Store(root)
    store.write(plan(7, 200_000))
    assert store.read(parts(7)) is None
    assert "the plan of 200000 bytes is not cached: the cache may hold 102400" in warnings[0]
    assert all(path.exists() for path in paths)


def test_what_killed_processes_left_is_swept(root: Path) -> None:
    store = Store(root)
    (path,) = filled(store, 1)
    own = path.with_name(f"{path.name}.0123.partial")
    old, new = (path.with_name(f"{name}.plan.4567.partial") for name in ("old", "new"))
    for file in (own, old, new):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    store.write(plan(0))  # the lock's holder knows that nobody else writes this entry
    assert set((root / "plans").iterdir()) == {path, new}


# Sealed files


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "moved", "longer"])
def test_a_damaged_sealed_file_is_ignored_and_reported(
    store: Store, root: Path, warnings: list[str], damage: str
) -> None:
    file = root / KERNELS / "a.kernels"
    assert read_checksummed(store.folder, file) == b""
    content = new_rng().bytes(3000)
    write_checksummed(store.folder, file, content)
    assert read_checksummed(store.folder, file) == content
    assert warnings == []
    stored = bytearray(file.read_bytes())
    if damage == "flip":
        stored[new_rng().integers(len(stored))] ^= 1
    elif damage == "moved":
        file = file.with_name("b.kernels")
    elif damage == "longer":
        stored += b"\0"
    else:
        del stored[0 if damage == "empty" else int(new_rng().integers(1, 3000)) :]
    file.write_bytes(stored)
    file.chmod(0o600)
    assert read_checksummed(store.folder, file) == b""
    assert f"{file} is damaged" in warnings[0]


# Where and how much


def test_the_folder_is_the_callers_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTTRT_CACHE_DIR", "here")
    assert cache.path() == tmp_path / "here"
    assert parse_cache(True) == tmp_path / "here"
    assert parse_cache(False) is None
    assert parse_cache("there") == parse_cache(tmp_path / "there") == tmp_path / "there"
    monkeypatch.setenv("FASTTRT_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.path() == tmp_path / "xdg" / "fasttrt"


@pytest.mark.parametrize("given", [None, 1, 0, "", b"there"])
def test_other_choices_are_refused(given: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="cache: expected True, False or a folder"):
        parse_cache(given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 20 << 30), ("0", 0), ("12345", 12345), ("500M", 500 << 20), ("20 GiB", 20 << 30),
        ("1tb", 1 << 40), ("7k", 7 << 10),
    ],
)  # fmt: skip
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, expected: int) -> None:
    monkeypatch.setenv("FASTTRT_CACHE_SIZE", text)
    assert size_limit() == expected


@pytest.mark.parametrize("text", ["much", "-1", "1.5G", "5X", "G"])
def test_other_sizes_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FASTTRT_CACHE_SIZE", text)
    with pytest.raises(fasttrt.InputError, match="FASTTRT_CACHE_SIZE: expected bytes"):
        cache.entries()


# The public functions


def test_entries_tell_what_they_hold(root: Path) -> None:
    assert cache.entries(root) == []
    paths = filled(Store(root), 3)
    found = cache.entries(root)
    assert [entry.path for entry in found] == paths[::-1]
    for entry in found:
        assert digest_of(dict(entry.parts)) == entry.key == entry.path.stem
        assert entry.size == entry.path.stat().st_size
        assert entry.used.timestamp() == pytest.approx(entry.path.stat().st_mtime)
        assert entry.problem == ""
    paths[0].write_bytes(b"hello")
    (last,) = (entry for entry in cache.entries(root) if entry.path == paths[0])
    assert "is not a plan of fasttrt" in last.problem
    assert last.parts == {}


def test_verify_removes_what_is_damaged_if_asked(root: Path) -> None:
    paths = filled(Store(root), 3)
    whole = {path: file_sha256(path) for path in paths}
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    assert [entry.path for entry in cache.verify(root)] == [paths[1]]
    assert paths[1].exists()
    assert [entry.path for entry in cache.verify(root, remove=True)] == [paths[1]]
    assert {path: file_sha256(path) for path in paths if path.exists()} == {
        path: whole[path] for path in (paths[0], paths[2])
    }


def test_reading_does_not_make_folders(root: Path) -> None:
    assert cache.entries(root) == cache.verify(root) == []
    assert Store(root).read(parts()) is None
    assert read_checksummed(CacheFolder(root), root / KERNELS / "a.kernels") == b""
    assert not root.exists()
