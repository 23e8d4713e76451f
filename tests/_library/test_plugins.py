"""Plugin libraries: loaded because the caller says so, recorded with the plan.

What loads one runs in a process of its own: it cannot be unloaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import _core
from fasttrt._library import plugins
from fasttrt._plan.compatibility import hints
from support import models
from support.plugin_library import compile_plugins
from support.process import python_output
from support.shared_objects import compile_library

# Arguments: the TensorRT, the model, plugin libraries. Prints the plan's record or the error.
BUILD = """
import json, sys
import fasttrt
try:
    plan = fasttrt.build(sys.argv[2], library=sys.argv[1], plugins=sys.argv[3:], progress=False)
    print(json.dumps({"record": plan.metadata.get("plugins")}))
except fasttrt.Error as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""


def built(rtx: fasttrt.LibraryInfo, model: Path, *files: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(python_output(BUILD, rtx.path, model, *files))
    return found


@pytest.fixture(scope="module")
def library_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_plugins(tmp_path_factory.mktemp("plugins") / "libmine.so")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return models.mlp(batch=2).save(tmp_path / "plain.onnx")


def test_the_plan_records_name_and_digest(
    rtx: fasttrt.LibraryInfo, plain: Path, library_file: Path
) -> None:
    digest = hashlib.sha256(library_file.read_bytes()).hexdigest()
    record = [{"name": "libmine.so", "sha256": digest}]
    assert built(rtx, plain, library_file) == {"record": record}
    assert built(rtx, plain) == {"record": None}
    assert plugins.describe([library_file]) == record


def test_a_library_may_be_given_again(
    rtx: fasttrt.LibraryInfo, plain: Path, library_file: Path, tmp_path: Path
) -> None:
    """TensorRT refuses plugins that it has; the same file, however it is named, is no failure."""
    link = tmp_path / "link.so"
    link.symlink_to(library_file)
    assert [r["name"] for r in built(rtx, plain, library_file, link)["record"]] == [
        "libmine.so"
    ] * 2


def test_the_parser_finds_the_plugin(
    rtx: fasttrt.LibraryInfo, library_file: Path, tmp_path: Path
) -> None:
    """It is asked for the plugin, and gives none: another refusal than of what is unknown."""
    model = models.nonzero().save(tmp_path / "nonzero.onnx")
    without, with_it = built(rtx, model), built(rtx, model, library_file)
    assert without["error"] == with_it["error"] == "ParseError"
    assert "the size of its output depends on the data" in without["text"]
    assert "Could not create NonZero plugin" in with_it["text"]


def test_a_library_without_plugins_is_refused(
    rtx: fasttrt.LibraryInfo, plain: Path, tmp_path: Path
) -> None:
    empty = compile_plugins(tmp_path / "libempty.so", count=0)
    other = compile_library(tmp_path / "libother.so", "int unrelated;")
    for file, reason in (
        (empty, "No creator returned"),
        (other, "getCreators could not be loaded"),
    ):
        found = built(rtx, plain, file)
        assert found["error"] == "Error"
        assert f"could not load plugins from {file}" in found["text"]
        assert reason in found["text"]


def test_a_file_that_is_no_library_is_refused(
    rtx: fasttrt.LibraryInfo, plain: Path, tmp_path: Path
) -> None:
    text = tmp_path / "libtext.so"
    text.write_text("no library")
    found = built(rtx, plain, text)
    assert found["error"] == "Error"
    assert f"could not load plugins from {text}" in found["text"]


def test_the_first_that_cannot_be_loaded_ends_it(
    rtx: fasttrt.LibraryInfo, plain: Path, library_file: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "libmissing.so"
    found = built(rtx, plain, library_file, missing)
    assert found["error"] == "InputError"
    assert f"plugins: there is no file {missing}" in found["text"]


def test_a_file_that_changed_is_refused(
    rtx: fasttrt.LibraryInfo, plain: Path, library_file: Path, tmp_path: Path
) -> None:
    code = """
    import pathlib, shutil, sys
    import fasttrt
    copy = pathlib.Path(sys.argv[3])
    shutil.copy(sys.argv[4], copy)
    options = dict(library=sys.argv[1], plugins=[copy], progress=False)
    before = fasttrt.build(sys.argv[2], **options).metadata["plugins"]
    renewed = copy.with_suffix(".new")  # not written in place: its code is mapped
    renewed.write_bytes(copy.read_bytes() + b"!")
    renewed.replace(copy)
    try:
        fasttrt.build(sys.argv[2], **options)
    except fasttrt.Error as error:
        print(error)
    """
    output = python_output(code, rtx.path, plain, tmp_path / "libcopy.so", library_file)
    assert f"plugins: {tmp_path / 'libcopy.so'} has changed since this process loaded it" in output


@pytest.mark.parametrize(
    "given", ["libmy.so", Path("libmy.so"), b"libmy.so", 3, [3], [None]], ids=repr
)
def test_what_is_no_list_of_files_is_refused(given: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="plugins: expected"):
        plugins.describe(given)
    with pytest.raises(fasttrt.InputError, match="plugins: expected"):
        fasttrt.Engine(models.mlp().proto, device="cpu", plugins=given)


def test_the_cpu_takes_no_plugins(library_file: Path) -> None:
    with pytest.raises(fasttrt.InputError, match="plugins: needs a GPU"):
        fasttrt.Engine(models.mlp().proto, device="cpu", plugins=[library_file])


def test_the_lean_runtime_wants_a_driver_first(
    vendor_library: Any, library_file: Path, no_gpu: str
) -> None:
    code = """
    import sys
    import fasttrt
    from fasttrt._library import plugins
    from fasttrt._library.discovery import find
    try:
        plugins.load(find(sys.argv[1], None), [sys.argv[2]])
    except fasttrt.CudaError as error:
        print(error)
    """
    for name in ("lean-10", "lean-11"):
        assert "driver" in python_output(code, vendor_library(name), library_file)


def test_a_plan_tells_which_plugins_are_missing(rtx_library: _core.Library) -> None:
    wanted = [{"name": "libmine.so", "sha256": "ab" * 32}, {"name": "libb.so", "sha256": "cd" * 32}]
    plan = fasttrt.Plan(b"ftrt", {"plugins": wanted})

    def hint(*given: dict[str, str]) -> str:
        return "; ".join(hints(plan, rtx_library, False, given))

    assert "built with plugins that were not passed: libmine.so" in hint()
    assert "libb.so (SHA-256 cdcdcdcdcdcd…)" in hint()
    assert "libb.so" not in hint(wanted[1])
    assert hint(*wanted) == ""
    moved = {"name": "renamed.so", "sha256": "ab" * 32}  # its content counts
    assert hint(moved, wanted[1]) == ""
    other = {"name": "libmine.so", "sha256": "ef" * 32}
    assert (
        "libmine.so (SHA-256 abababababab…, but the libmine.so passed has efefefefefef…)"
        in hint(other, wanted[1])
    )


def test_a_missing_file_is_named_by_the_core_too(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    library = _core.find_library(str(rtx.path), "", [], (0, 0))
    with pytest.raises(fasttrt.Error, match=r"plugin library .*nothing.so cannot be read"):
        library.load_plugins(str(tmp_path / "nothing.so"))
