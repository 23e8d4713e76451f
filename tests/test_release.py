"""`tools/check_release.py` finds what is to be done before a release."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fasttrt

ROOT = Path(__file__).parent.parent
FILES = ("tools/check_release.py", "python/fasttrt/_version.py")
TAG = f"v{fasttrt.__version__}"

pytestmark = pytest.mark.skipif(not (ROOT / FILES[0]).is_file(), reason="the tools are not here")


def replace(file: Path, before: str, after: str) -> None:
    text = file.read_text("utf-8")
    assert before in text, before
    file.write_text(text.replace(before, after), "utf-8")


def check(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, folder / FILES[0], *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, (done.stdout or done.stderr).splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What the check reads, ready for a release."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    number = fasttrt.__version__
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n\n## [{number}] - 2027-01-31\n\n### Fixed\n- All.\n"
    )
    urls = '[project.urls]\nHomepage = "https://example.org/fasttrt"\n'
    (tmp_path / "pyproject.toml").write_text(urls)
    return tmp_path


def test_a_release_that_is_ready(repository: Path) -> None:
    assert check(repository, TAG) == (0, [])


def test_the_version_of_another_tag(repository: Path) -> None:
    assert check(repository, "v99.0.0") == (
        1, [f"python/fasttrt/_version.py: expected the version of the tag v99.0.0, got {TAG[1:]}"],
    )  # fmt: skip
    assert check(repository, TAG[1:])[0] == 1, "tags begin with v"


def test_changes_that_are_not_of_a_version(repository: Path) -> None:
    replace(repository / "CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n### Added\n- More.\n")
    code, (line,) = check(repository, TAG)
    assert code == 1
    assert "below [Unreleased]" in line


@pytest.mark.parametrize(
    ("before", "after"),
    [(" - 2027-01-31", ""), (" - 2027-01-31", " - soon"), (f"[{TAG[1:]}]", "[98.0.0]")],
)
def test_no_dated_section_of_the_version(repository: Path, before: str, after: str) -> None:
    replace(repository / "CHANGELOG.md", before, after)
    assert check(repository, TAG) == (
        1, [f"CHANGELOG.md: expected a section: ## [{TAG[1:]}] - YEAR-MONTH-DAY"],
    )  # fmt: skip


def test_a_section_without_changes(repository: Path) -> None:
    replace(repository / "CHANGELOG.md", "\n### Fixed\n- All.\n", "")
    assert check(repository, TAG) == (1, [f"CHANGELOG.md: expected changes below [{TAG[1:]}]"])


def test_a_home_that_does_not_exist(repository: Path) -> None:
    replace(repository / "pyproject.toml", "example.org", "fasttrt.invalid")
    assert check(repository, TAG) == (
        1, ["pyproject.toml:2: expected the address of the repository, got https://fasttrt.invalid"],
    )  # fmt: skip


def test_a_wrong_command_line(repository: Path) -> None:
    code, (line,) = check(repository)
    assert code == 2
    assert line.startswith("usage: check_release.py TAG")
