"""Check that what the repository says of itself fits a release: `check_release.py v1.2.3`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def version(root: Path = ROOT) -> str:
    """Return the version, from the only file that has it."""
    found = re.search(r'__version__ = "(.+)"', (root / "python/fasttrt/_version.py").read_text())
    assert found, "_version.py: expected __version__"
    return found[1]


def problems(tag: str, root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each thing that is to be done before a release with this tag."""
    number = version(root)
    if tag != f"v{number}":
        yield f"python/fasttrt/_version.py: expected the version of the tag {tag}, got {number}"
    text = (root / "CHANGELOG.md").read_text("utf-8")
    changes = dict(re.findall(r"^## \[(.+?)\](.*?)(?=^## \[|\Z)", text, re.MULTILINE | re.DOTALL))
    if changes.get("Unreleased", "").strip():
        yield f"CHANGELOG.md: expected nothing below [Unreleased] but what comes after {number}"
    about = changes.get(number, "")
    if not re.match(r" - \d{4}-\d\d-\d\d\n", about):
        yield f"CHANGELOG.md: expected a section: ## [{number}] - YEAR-MONTH-DAY"
    elif not about.partition("\n")[2].strip():
        yield f"CHANGELOG.md: expected changes below [{number}]"
    lines = (root / "pyproject.toml").read_text("utf-8").splitlines()
    for row, line in enumerate(lines, 1):
        if address := re.search(r"https://[\w.-]*\.invalid", line):
            yield f"pyproject.toml:{row}: expected the address of the repository, got {address[0]}"


def main() -> int:
    """Print what is to be done; return 1 if there is something, 2 for a wrong command line."""
    if len(sys.argv) != 2:
        print("usage: check_release.py TAG, for example v1.2.3", file=sys.stderr)
        return 2
    found = list(problems(sys.argv[1]))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
