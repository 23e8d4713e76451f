"""What the package index shows: version, addresses, classifiers, a README whose links work."""

from __future__ import annotations

import email
import email.message
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._common import optional_packages

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(!?)\[[^]]*\]\(([^)]+)\)")

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="the sources are not here"
)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return found


@pytest.fixture(scope="module")
def runtime() -> dict[str, Any]:
    """The small installation."""
    text = (ROOT / "runtime" / "pyproject.toml").read_text("utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist as a release builds it, but from what is in the working tree."""
    pytest.importorskip("scikit_build_core", reason="scikit-build-core is not installed")
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def metadata(sdist: Path) -> email.message.Message:
    with tarfile.open(sdist) as archive:
        stream = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert stream
        return email.message_from_bytes(stream.read())


def test_the_version_is_in_one_place(sdist: Path, metadata: email.message.Message) -> None:
    assert metadata["Version"] == fasttrt.__version__
    assert sdist.name == f"fasttrt-{fasttrt.__version__}.tar.gz"
    files = ("pyproject.toml", "CMakeLists.txt", "CITATION.cff", "mkdocs.yml", "README.md")
    for name in files:
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(rf"(?<![\d.]){re.escape(fasttrt.__version__)}(?![\d.])", text), name


def test_twine_accepts_it(sdist: Path) -> None:
    pytest.importorskip("twine", reason="twine is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", sdist],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_leads_to_files_of_the_release(
    metadata: email.message.Message, project: dict[str, Any]
) -> None:
    home = project["urls"]["Homepage"]
    text = metadata.get_payload()
    assert isinstance(text, str)
    original = (ROOT / "README.md").read_text("utf-8")
    links, relative = LINK.findall(text), LINK.findall(original)
    assert len(links) == len(relative) > 20
    for (image, link), (_, target) in zip(links, relative, strict=True):
        if target.startswith("https:"):
            assert link == target
            continue
        kind = "raw" if image else "blob"
        assert link == f"{home}/{kind}/v{fasttrt.__version__}/{target}"
        assert (ROOT / target.partition("#")[0]).is_file(), target
    assert LINK.sub("", text).strip() == LINK.sub("", original).strip()


def test_all_addresses_are_of_one_home(project: dict[str, Any]) -> None:
    home = project["urls"]["Homepage"]
    assert all(address.startswith(home) for address in project["urls"].values())


def test_classifiers_exist(project: dict[str, Any]) -> None:
    trove = pytest.importorskip("trove_classifiers", reason="trove-classifiers is not installed")
    assert set(project["classifiers"]) <= trove.classifiers
    assert project["classifiers"] == sorted(project["classifiers"], key=natural)


def natural(text: str) -> list[tuple[bool, int, str]]:
    """A key that sorts 3.9 before 3.10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in re.split(r"(\d+)", text)]  # fmt: skip


def test_the_oldest_python_is_the_first_of_the_classifiers(project: dict[str, Any]) -> None:
    pythons = [c.split(" :: ")[-1] for c in project["classifiers"] if " :: Python :: 3." in c]
    assert project["requires-python"] == f">={pythons[0]}"
    minors = [int(python.removeprefix("3.")) for python in pythons]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_small_installation_and_two_extras_are_the_large_one(
    project: dict[str, Any], runtime: dict[str, Any]
) -> None:
    extras = runtime["optional-dependencies"]
    parts = [*runtime["dependencies"], *extras["onnx"], *extras["cli"]]
    assert set(project["dependencies"]) == set(parts)
    for name in ("requires-python", "scripts", "license"):
        assert project[name] == runtime[name], name


def test_the_other_extras_of_both_installations_are_alike(
    project: dict[str, Any], runtime: dict[str, Any]
) -> None:
    large, small = project["optional-dependencies"], runtime["optional-dependencies"]
    assert small.keys() - large.keys() == {"onnx", "cli"}
    for name in small.keys() & large.keys():
        parts = {part for part in small[name] if not part.startswith("fasttrt-runtime[")}
        assert parts == set(large[name]), name


def test_missing_packages_are_in_the_extras_that_are_named(runtime: dict[str, Any]) -> None:
    for package, extra in optional_packages.ORIGINS.values():
        name = package.lower().replace("onnx runtime", "onnxruntime")
        parts = runtime["optional-dependencies"][extra]
        assert name in [re.split("[^a-z0-9-]", part)[0] for part in parts], package


def test_the_small_installation_has_the_version_and_the_license(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core", reason="scikit-build-core is not installed")
    code = "import sys; from scikit_build_core import build as b; "
    code += "b.prepare_metadata_for_build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=ROOT / "runtime", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = tmp_path.iterdir()
    found = email.message_from_string((folder / "METADATA").read_text("utf-8"))
    assert (found["Name"], found["Version"]) == ("fasttrt-runtime", fasttrt.__version__)
    license_text = (folder / "licenses" / "LICENSE").read_text("utf-8")
    assert license_text == (ROOT / "LICENSE").read_text("utf-8")


def test_each_python_of_the_classifiers_has_wheels_and_is_tested(project: dict[str, Any]) -> None:
    pythons = {c.split(" :: ")[-1] for c in project["classifiers"] if " :: Python :: 3." in c}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["cibuildwheel"]
    built = {re.sub(r"cp3(\d+)(t?)-.*", r"3.\1\2", name) for name in settings["build"]}
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text("utf-8")
    (matrix,) = re.findall(r"^ *python: \[(.+)\]$", workflow, re.MULTILINE)
    assert set(re.findall(r'"(.+?)"', matrix)) == built
    assert {name for name in built if not name.endswith("t")} == pythons
