"""The documentation has every environment variable that is read, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "environment.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not here")


def is_environment(node: ast.expr) -> bool:
    return ast.unparse(node) in ("os.environ", "environ")


def names_read(tree: ast.AST) -> Iterator[ast.expr]:
    """What `os.environ[…]`, `os.environ.get(…)` and `os.getenv(…)` look up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and is_environment(node.value):
            if isinstance(node.ctx, ast.Load):
                yield node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            place, method = node.func.value, node.func.attr
            is_lookup = is_environment(place) and method in ("get", "pop", "setdefault")
            if is_lookup or ast.unparse(node.func) == "os.getenv":
                yield node.args[0]
        elif isinstance(node, ast.Compare) and any(map(is_environment, node.comparators)):
            yield node.left


def constants(trees: list[ast.Module]) -> dict[str, str]:
    return {
        ast.unparse(target): node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(node.value.value, str)
    }


def read_by_python(*folders: str) -> set[str]:
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    texts = [file.read_text("utf-8") for file in files]
    trees = [ast.parse(text) for text in texts if "environ" in text or "getenv" in text]
    known = constants(trees)
    found = set()
    for tree in trees:
        near = known | constants([tree])
        for name in names_read(tree):
            text = name.value if isinstance(name, ast.Constant) else near.get(ast.unparse(name))
            assert isinstance(text, str), f"expected a constant, got {ast.unparse(name)}"
            found.add(text)
    return found


def read_by_cpp(*, tests: bool) -> set[str]:
    found = set()
    for file in (ROOT / "cpp").rglob("*.cpp"):
        if re.search(r"_(test|fake)\.cpp$", file.name) is None or tests:
            for name in re.findall(r"getenv\(([^)]*)\)", file.read_text("utf-8")):
                assert re.fullmatch(r'"\w+"', name), f"{file.name}: expected a constant, got {name}"
                found.add(name.strip('"'))
    return found


def documented() -> set[str]:
    """The variables in the page's first part, which is about what fasttrt itself reads."""
    part = PAGE.read_text("utf-8").partition("\n## Read by fasttrt\n")[2].partition("\n## ")[0]
    return set(re.findall(r"`([A-Z][A-Z0-9]*_?[A-Z0-9_]*)`", part))


def test_the_page_has_what_fasttrt_reads() -> None:
    read = read_by_python("python/fasttrt") | read_by_cpp(tests=False)
    assert {"FASTTRT_LIBRARY", "FASTTRT_NGHTTP2", "NVIDIA_TF32_OVERRIDE"} <= read
    assert documented() == read | {"PYTHONPATH"}, "read from a copy of the environment"


def test_no_other_variable_of_fasttrt_occurs_in_the_sources() -> None:
    """Strings count, too: a name may be on its way to a lookup that the search does not know."""
    named, macros = set(), set()
    for file in [*(ROOT / "python").rglob("*.py"), *(ROOT / "cpp").rglob("*.[chi]*pp")]:
        if re.search(r"_(test|fake|check)\.cpp$", file.name) is None:
            text = file.read_text("utf-8")
            named |= set(re.findall(r"FASTTRT_[A-Z0-9_]+", text))
            macros |= set(re.findall(r"#define (FASTTRT_\w+)", text))
    assert named - macros == {name for name in documented() if name.startswith("FASTTRT_")}


def test_variables_of_tests_and_benchmarks_are_described() -> None:
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", *(ROOT / "tests").rglob("*.md")]
    text = "\n".join(page.read_text("utf-8") for page in [*pages, PAGE])
    read = read_by_python("tests", "bench", "examples") | read_by_cpp(tests=True)
    ours = {name for name in read if name.startswith("FASTTRT_")}
    assert ours >= {"FASTTRT_TEST_SEED", "FASTTRT_TEST_LIBRARIES"}
    for_children = {
        "FASTTRT_BENCH_DEVICE", "FASTTRT_BENCH_MODEL", "FASTTRT_TEST_CHILD",
        "FASTTRT_TEST_NVTX_FILE", "FASTTRT_ZOO_LOCK",
    }  # fmt: skip
    assert {name for name in ours if not re.search(rf"`{name}\b", text)} == for_children
