"""Plans that do not load: those from the cache are built anew, once; given ones never are.

What loads plans needs a GPU; in its place here is something that refuses the plans it is told to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import BuildConfig, EngineLoadError, Plan
from fasttrt._cache.cached_build import PlanSource, cached_build
from fasttrt._engine.backend_factory import RunOptions, _load_all
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.reference_backend import ReferenceBackend
from support import models

OPTIONS = RunOptions(2, "eager", "auto", "auto", None)


class Loader:
    """Loads a model for the CPU, whatever the plan, unless the plan is on its list."""

    def __init__(self, model: Any) -> None:
        self.model = OnnxModel(model)
        self.refused: list[Plan] = []
        self.loaded: list[tuple[int, Plan]] = []

    def __call__(self, plan: Plan, *, device: int, **options: Any) -> ReferenceBackend:
        if any(plan is refused for refused in self.refused):
            raise EngineLoadError("built by rtx 9.9.9 for Imaginary GPU; here is another")
        self.loaded.append((device, plan))
        return ReferenceBackend(self.model, None)


@pytest.fixture
def proto() -> Any:
    return models.mlp(batch=2).proto


@pytest.fixture
def loader(proto: Any, monkeypatch: pytest.MonkeyPatch) -> Loader:
    made = Loader(proto)
    monkeypatch.setattr("fasttrt._engine.backend_factory.TensorRTBackend", made)
    return made


@pytest.fixture
def source(proto: Any, rtx: fasttrt.LibraryInfo, tmp_path: Path) -> Callable[[], PlanSource]:
    def get() -> PlanSource:
        return cached_build(
            OnnxModel(proto), BuildConfig(), shapes=None, library=rtx.path, device=None,
            progress=False, cache=tmp_path,
        )  # fmt: skip

    return get


def load(sources: list[PlanSource]) -> None:
    ordinals = range(len(sources))
    _load_all(
        sources, ordinals, "auto", BuildConfig(), OPTIONS, None, sources[0].plan, False
    ).close()


def test_a_cached_plan_is_built_anew(
    source: Callable[[], PlanSource], loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    source()
    cached = source()
    loader.refused.append(cached.plan)
    load([cached] * 3)
    assert [device for device, _ in loader.loaded] == [0, 1, 2]
    assert {id(plan) for _, plan in loader.loaded} == {id(cached.plan)}
    assert cached.rebuild is None
    assert caplog.text.count("so it is rebuilt: built by rtx 9.9.9 for Imaginary GPU") == 1


def test_what_was_just_built_is_not_built_again(
    source: Callable[[], PlanSource], loader: Loader
) -> None:
    fresh = source()
    loader.refused.append(fresh.plan)
    with pytest.raises(EngineLoadError, match="for Imaginary GPU"):
        load([fresh])
    assert loader.loaded == []


def test_a_given_plan_is_not_built_again(source: Callable[[], PlanSource], loader: Loader) -> None:
    source()
    given = PlanSource(source().plan)
    loader.refused.append(given.plan)
    with pytest.raises(EngineLoadError, match="for Imaginary GPU"):
        load([given])


def test_a_second_failure_is_raised(
    source: Callable[[], PlanSource], loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    source()
    cached = source()
    counts = []

    def refuse(plan: Plan, **options: Any) -> None:
        counts.append(plan)
        raise EngineLoadError(f"failure {len(counts)}")

    monkeypatch.setattr("fasttrt._engine.backend_factory.TensorRTBackend", refuse)
    with pytest.raises(EngineLoadError, match="failure 2"):
        load([cached])
    assert len(counts) == 2
    assert counts[0] is not counts[1]


def test_host_code_that_is_not_allowed_is_no_reason_to_build(
    source: Callable[[], PlanSource], loader: Loader
) -> None:
    """As a new plan would carry it, too."""
    source()
    cached = source()
    config = {"version_compatible": True, "exclude_lean_runtime": False}
    cached.plan = Plan(cached.plan.data, cached.plan.metadata | {"config": config})
    before = cached.plan
    loader.refused.append(cached.plan)
    with pytest.raises(EngineLoadError, match="for Imaginary GPU"):
        load([cached])
    assert cached.plan is before
    assert cached.rebuild is not None
    allowed = BuildConfig(engine_host_code=True)
    _load_all([cached], [0], "auto", allowed, OPTIONS, None, cached.plan, False).close()
    assert cached.plan is not before
    assert [plan for _, plan in loader.loaded] == [cached.plan]
