"""The page of the command line has every command, argument and option, with what it does."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from fasttrt._cli import app

ROOT = Path(__file__).parent.parent
HOOK = ROOT / "tools" / "cli_reference.py"
PAGE = ROOT / "docs" / "reference" / "command-line.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not here")


def load_hook() -> ModuleType:
    spec = spec_from_file_location("cli_reference", HOOK)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "fasttrt"))


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """Each command's part of the page, in HTML."""
    markdown = pytest.importorskip("markdown", reason="the docs extra is not installed")
    text = load_hook().on_page_markdown(PAGE.read_text("utf-8"))
    page = markdown.markdown(text, extensions=["def_list", "fenced_code"])
    _, *parts = re.split(r"<h[2-6]>(.+?)</h[2-6]>", page)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_page_has_every_command(sections: dict[str, str]) -> None:
    assert list(sections) == list(COMMANDS)
    assert {"fasttrt build", "fasttrt serve", "fasttrt cache clear"} <= sections.keys()


@pytest.mark.parametrize("path", COMMANDS)
def test_the_page_has_every_option(path: str, sections: dict[str, str]) -> None:
    command = COMMANDS[path]
    terms = re.findall(r"<dt><code>(.+?)</code></dt>\s*<dd>(.+?)</dd>", sections[path], re.DOTALL)
    meanings = {html.unescape(term): re.sub("<.+?>", "", text).strip() for term, text in terms}
    named = {word for term in meanings for word in re.split(r"[ ,/[\]]+", term)}
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        is_argument = parameter.param_type_name == "argument"
        words = [parameter.metavar] if is_argument else parameter.opts + parameter.secondary_opts
        names = set(words)
        assert names <= named, f"{path}: {names}"
    assert all(map(str.strip, meanings.values()))
    plain = html.unescape(re.sub("<.+?>", "", sections[path]))
    assert (command.help or "").split("\n")[0] in plain


def test_the_site_is_built_with_the_hook() -> None:
    assert f"hooks: [{HOOK.relative_to(ROOT)}]" in (ROOT / "mkdocs.yml").read_text("utf-8")


def test_other_pages_stay_as_they_are() -> None:
    assert load_hook().on_page_markdown("text") == "text"
