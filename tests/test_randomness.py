"""Random values are new in each session, and those of a failure can be had again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.process import python_output, run_python
from support.randomness import SEED, drawing_for, new_rng


def drawn(name: str, count: int = 1) -> list[int]:
    with drawing_for(name):
        return [int(new_rng().integers(1 << 60)) for _ in range(count)]


def test_values_follow_from_the_session_the_test_and_the_number_of_the_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SEED, "1")
    first = drawn("test a", 3)
    assert first == drawn("test a", 3)
    assert len({*first, *drawn("test b", 3)}) == 6
    monkeypatch.setenv(SEED, "2")
    assert drawn("test a", 3) != first


@pytest.fixture(scope="module")
def of_the_module() -> int:
    return int(new_rng().integers(1 << 60))


def test_a_fixtures_values_are_not_those_of_its_first_test(
    of_the_module: int, request: pytest.FixtureRequest
) -> None:
    module = request.node.parent.nodeid
    assert [of_the_module] == drawn(f"{module} of_the_module")
    assert int(new_rng().integers(1 << 60)) == drawn(request.node.nodeid)[0]


def test_no_test_draws_what_cannot_be_repeated() -> None:
    unseeded = re.compile(r"default_rng\(\)")
    folder = Path(__file__).parent
    assert not [p for p in folder.rglob("*.py") if unseeded.search(p.read_text())]


def test_each_child_process_draws_values_of_its_own() -> None:
    code = "from support.randomness import new_rng; print(new_rng().integers(1 << 60))"
    with drawing_for("some test"):
        first, second = python_output(code), python_output(code)
    with drawing_for("some test"):
        again = python_output(code)
    assert first != second
    assert first == again


def test_a_failure_tells_how_to_repeat_it(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(
        "from support.randomness import new_rng\n"
        "def test_it():\n"
        "    raise ValueError(f'drew {new_rng().integers(1 << 60)}')\n"
    )
    code = "import sys, pytest; pytest.main(['-p', 'conftest', *sys.argv[1:]])"
    done = run_python(code, file, f"--rootdir={tmp_path}", FASTTRT_TEST_SEED="5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SEED, "5")
        (value,) = drawn("test_it.py::test_it")
    assert f"random values: {SEED}=5" in done.stdout
    assert f"{SEED}=5 pytest test_it.py::test_it" in done.stdout
    assert f"drew {value}" in done.stdout
