"""Every block of code on the documentation's pages runs, in the order in which a reader meets them.

A page's blocks share one namespace and one folder. The first page starts with nothing, as its
reader does; the others have what it made: ``m.onnx``, an array ``x`` for it, and some samples. A
block that needs more than a CPU says so in a comment before it: ``<!-- needs: gpu torch -->``.
Where that is missing Python is compiled all the same, and commands are held against their options.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import doctest
import gc
import inspect
import logging
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import fasttrt
import fasttrt.cache
import fasttrt.serving
from fasttrt import _core
from fasttrt._cli import app
from support.doc_blocks import Block, blocks, commands, example_needs
from support.randomness import new_rng

ROOT = Path(__file__).parent.parent
FIRST = ROOT / "docs" / "index.md"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SHOWN = {"", "text", "toml"}
"""What is no code: output, and files."""
ELSEWHERE = ("pip ", "python ", "export ")
"""What is not run here: it changes the machine, or the examples' own tests run it."""

pytestmark = pytest.mark.skipif(not FIRST.is_file(), reason="the documentation is not here")


def missing(need: str) -> str:
    """Why what a block needs is not here; empty if it is."""
    if need == "gpu":
        return _core.driver_problem()
    if need == "builder":  # a TensorRT that builds here; TensorRT-RTX does without a GPU
        try:
            found = fasttrt.library()
        except (fasttrt.LibraryNotFoundError, fasttrt.UnsupportedLibraryError) as error:
            return str(error)
        return "" if found.can_build else found.problem
    if need == "v10":  # where engines run on a GPU: what TensorRT 8.6 has not
        is_old = not _core.driver_problem() and fasttrt.library().generation == "v8"
        return "TensorRT 8.6 has it not" if is_old else ""
    if need in ("torch", "cupy", "jax", "ray", "distributed", "pyspark"):
        return "" if find_spec(need) else f"{need} is not installed"
    raise ValueError(f"needs: {need!r} is not known")


def is_runnable(block: Block) -> bool:
    return not any(map(missing, block.needs))


def run_python(block: Block, namespace: dict[str, Any]) -> None:
    source = "\n" * (block.line - 1) + block.text
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, str(block.page), "exec", flags=flags, dont_inherit=True)
    if not is_runnable(block):
        return
    if code.co_flags & inspect.CO_COROUTINE:

        async def waited() -> None:
            await eval(code, namespace)

        asyncio.run(waited())
    else:
        exec(code, namespace)


def invoke(arguments: list[str]) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "TERM": "dumb"})


def run_command(block: Block, command: str) -> None:
    words = shlex.split(command, comments=True)
    where = f"{block.page.name}:{block.line}: {command}"
    if words[0] != "fasttrt":
        assert command.startswith(ELSEWHERE), where
        for word in words[1:] if words[0] == "python" else ():
            assert not word.endswith(".py") or (ROOT / word).is_file(), where
        return
    if not is_runnable(block):
        shown = invoke([words[1], "--help"])
        assert shown.exit_code == 0, where
        for option in re.findall(r"--[\w-]+", command):
            assert re.search(rf"{option}\b", shown.output), f"{where}: no {option}"
        return
    result = invoke(words[1:])
    # Doctor's verdict on a machine without a GPU.
    expected = 1 if words[1] == "doctor" and _core.driver_problem() else 0
    assert result.exit_code == expected, f"{where}\n{result.output}\n{result.exception!r}"


def prepare(folder: Path) -> dict[str, Any]:
    """What the first page leaves to the others."""
    namespace: dict[str, Any] = {}
    run_python(next(block for block in blocks(FIRST) if block.language == "python"), namespace)
    assert len(list((folder / "samples").iterdir())) > 1
    x = new_rng().standard_normal((8, 784)).astype(np.float32)
    return {"fasttrt": fasttrt, "np": np, "onnx": onnx, "x": x}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; what says that there is no GPU is not an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTTRT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_ADDRESS", "local")  # a Ray of its own, whatever runs on this machine
    ours = logging.getLogger("fasttrt")
    level, handlers = ours.level, logging.root.handlers[:]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "running on the CPU", RuntimeWarning)
        warnings.filterwarnings("ignore", module="ray")  # which its own code brings about
        yield tmp_path
    ours.setLevel(level)
    logging.root.handlers[:] = handlers


@pytest.fixture(scope="module", autouse=True)
def _end_ray() -> Iterator[None]:
    """End the Ray that examples have started, with its processes."""
    yield
    if "ray" in sys.modules:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            sys.modules["ray"].shutdown()
            gc.collect()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_runs(page: Path, folder: Path) -> None:
    namespace = {} if page == FIRST else prepare(folder)
    try:
        for block in blocks(page):
            if block.language == "python":
                run_python(block, namespace)
            elif block.language == "bash":
                for command in commands(block):
                    run_command(block, command)
            else:
                assert block.language in SHOWN, f"{page}:{block.line}: {block.language}"
    finally:
        for value in list(namespace.values()):
            if isinstance(value, fasttrt.Engine):
                value.close()


def documented() -> Iterator[tuple[str, str]]:
    """Yield the public names that have examples, and their docstrings."""
    public = [(name, getattr(fasttrt, name)) for name in fasttrt.__all__]
    modules = [fasttrt.cache, fasttrt.serving]
    if find_spec("ray"):
        modules.append(import_module("fasttrt.ray"))
    for module in modules:
        short = module.__name__.removeprefix("fasttrt.")
        public += [(f"{short}.{name}", getattr(module, name)) for name in module.__all__]
    for name, value in public:
        if isinstance(value, type) and not issubclass(value, BaseException):
            for member in dir(value):
                function = inspect.getattr_static(value, member)
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and ">>>" in (function.__doc__ or ""):
                    yield f"{name}.{member}", inspect.getdoc(function) or ""
        if ">>>" in (value.__doc__ or ""):
            yield name, inspect.getdoc(value) or ""


EXAMPLES = dict(documented())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_docstring_run(name: str, folder: Path) -> None:
    text = EXAMPLES[name]
    namespace = prepare(folder)
    test = doctest.DocTestParser().get_doctest(text, namespace, name, None, 0)
    needs = example_needs(text)
    for example in test.examples:
        compile(example.source, name, "single", dont_inherit=True)
    test.examples = [e for e in test.examples if not any(map(missing, needs[e.lineno]))]
    report: list[str] = []
    try:
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        failed, _ = runner.run(test, out=report.append, clear_globs=False)
        assert not failed, "\n".join(report)
    finally:
        for value in list(test.globs.values()):
            if isinstance(value, fasttrt.Engine):
                value.close()


HAVE_EXAMPLES = {
    "Batching", "BuildConfig", "Engine", "Engine.infer", "Engine.map", "LibraryInfo", "Plan",
    "TensorSpec", "Thresholds", "build", "compare", "from_torch", "library", "load_config",
    "quantize",
}  # fmt: skip


def test_public_names_have_examples() -> None:
    functions = {f"cache.{name}" for name in fasttrt.cache.__all__ if name != "Entry"}
    assert EXAMPLES.keys() >= HAVE_EXAMPLES | functions | {
        "serving.Server",
        "serving.asgi",
        "serve",
    }


def test_help_shows_the_fields_of_options() -> None:
    for kind in (fasttrt.BuildConfig, fasttrt.TensorSpec, fasttrt.Batching, fasttrt.LibraryInfo):
        text = inspect.getdoc(kind) or ""
        for field in dataclasses.fields(kind):
            assert f"\n    {field.name}: " in text


def test_the_reference_has_every_public_name() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.md")
    entries = re.findall(
        r"^::: fasttrt\.(\w+)$", "\n".join(p.read_text() for p in pages), re.MULTILINE
    )
    assert {"Engine", "build", "cache", "errors", "serving"} <= set(entries)
    assert set(fasttrt.__all__) <= {*entries, *vars(fasttrt.errors), "__version__"}


def test_no_page_is_hidden() -> None:
    """All pages are in the navigation, so that mkdocs checks their links."""
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in settings


def test_a_wrong_block_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n<!-- needs: gpu -->\n```python\nx = = 1\n```\n")
    (block,) = blocks(page)
    assert (block.line, block.needs) == (5, frozenset({"gpu"}))
    with pytest.raises(SyntaxError):
        run_python(block, {})
    page.write_text("<!-- needs: GPU -->\n```python\n```\n")
    with pytest.raises(ValueError, match="expected <!-- needs"):
        list(blocks(page))
    page.write_text("```bash\nfasttrt compare m.onnx \\\n  --no-such-option\n```\n")
    (block,) = blocks(page)
    with pytest.raises(AssertionError, match="No such option"):
        run_command(block, *commands(block))
