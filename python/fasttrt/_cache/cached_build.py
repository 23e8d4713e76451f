"""Building through the cache: a plan is taken from the cache, or built and stored there."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fasttrt._builder.build import build
from fasttrt._cache.key import digest_of, key_parts
from fasttrt._cache.lock import entry_lock
from fasttrt._cache.store import Store
from fasttrt._cache.timing_cache import discard_timings, timing_cache_file
from fasttrt._common.log import logger
from fasttrt._common.progress import ProgressCallback
from fasttrt._graph.model import OnnxModel
from fasttrt._library.device import gpu_model, gpu_or_default
from fasttrt._library.discovery import find
from fasttrt._library.plugins import Plugins, describe
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.plan_file import Plan
from fasttrt._plan.profiles import Shapes
from fasttrt._plan.tuned import Request, for_family
from fasttrt.errors import BuildError

TIMINGS_REFUSED = "timing_cache was refused"  # as in the core's error


@dataclass
class PlanSource:
    """A plan to load, and how to replace it if it does not load."""

    plan: Plan
    rebuild: "Callable[[Plan], PlanSource] | None" = None
    """Builds the plan again. None for a plan that the caller passed or that was just built."""
    store: Callable[[Plan], None] = lambda plan: None
    """Stores the plan in the cache, if the cache is used."""

    def annotate(self, **metadata: Any) -> None:
        """Add to the plan's metadata, in the cache too."""
        self.plan = Plan(self.plan.data, self.plan.metadata | metadata)
        self.store(self.plan)

    def replace_plan(self, reason: str) -> None:
        """Rebuild a plan from the cache that does not load."""
        assert self.rebuild is not None
        logger.warning("the plan from the cache does not load, so it is rebuilt: %s", reason)
        new = self.rebuild(self.plan)
        self.plan, self.rebuild, self.store = new.plan, new.rebuild, new.store


def cached_build(
    model: OnnxModel,
    config: BuildConfig,
    *,
    shapes: Shapes | None,
    library: str | os.PathLike[str],
    device: str | None,
    progress: ProgressCallback | bool | None,
    cache: Path | None,
    tuned: Request | None = None,
    plugins: Plugins = (),
    isolate: bool | float = False,
    advise: bool = False,
) -> PlanSource:
    """Build a model, or take the plan of an earlier build from the cache.

    Args:
        model: the model to build.
        config: see `fasttrt.build`, as for the following arguments.
        shapes: the shapes of dynamic inputs.
        library: the TensorRT to use.
        device: the GPU to build for.
        progress: how to report the build's progress.
        cache: the cache's folder; None for no cache.
        tuned: the sizes to tune for.
        plugins: the plugin libraries to load.
        isolate: whether to build in a separate process.
        advise: whether errors include advice.

    Raises:
        Error: as `fasttrt.build`.
    """
    ordinal = gpu_or_default(device)

    def build_plan(config: BuildConfig) -> Plan:
        return build(
            model, config, shapes=shapes, tuned=tuned, library=library, device=device,
            plugins=plugins, progress=progress, isolate=isolate, advise=advise,
        )  # fmt: skip

    if cache is None:
        return PlanSource(build_plan(config))
    found = find(library, ordinal)
    gpu = None if ordinal is None else gpu_model(ordinal)
    content = model.sha256()
    extra: dict[str, object] = {"plugins": describe(plugins)}
    if model.is_changed:  # the plan records the changes, unlike that of a model saved with them
        extra["changed_by"] = digest_of(model.arguments)
    parts = key_parts(content, config, shapes, found, gpu, extra, for_family(tuned, found.family))
    store, key = Store(cache), digest_of(parts)
    name = str(model.path or "a model in memory")

    def build_with_timings() -> Plan:
        if found.family != "tensorrt" or config.timing_cache is not None or gpu is None:
            return build_plan(config)
        try:
            with timing_cache_file(store, found, gpu) as file:
                return build_plan(replace(config, timing_cache=file))
        except BuildError as error:
            if TIMINGS_REFUSED not in str(error):
                raise
            logger.warning("the cache's timings are dropped: %s", error)
        discard_timings(store, found, gpu)
        with timing_cache_file(store, found, gpu) as file:
            return build_plan(replace(config, timing_cache=file))

    def store_plan(plan: Plan) -> None:
        with entry_lock(store.folder, key, name):
            store.write(plan)

    def rebuild(broken: Plan | None) -> PlanSource:
        with entry_lock(store.folder, key, name):
            plan = store.read(parts, quietly=True)  # its problem was logged before
            if plan is not None and (broken is None or plan.digest != broken.digest):
                return PlanSource(plan, rebuild, store_plan)  # another process has built it
            plan = build_with_timings()
            about = {"cache": parts, "model_name": model.path.name if model.path else None}
            plan = Plan(plan.data, plan.metadata | about)
            if not _is_unchanged(model, content):
                logger.warning("%s changed during the build, so the plan is not cached", name)
                return PlanSource(plan)
            store.write(plan)
            return PlanSource(plan, None, store_plan)

    plan = store.read(parts)
    if plan is None:
        return rebuild(None)
    logger.info("%s: the plan is in the cache: %s", name, store.path_of(key))
    return PlanSource(plan, rebuild, store_plan)


def _is_unchanged(model: OnnxModel, content: str) -> bool:
    """Return whether the model's files, as TensorRT read them, are those behind the key.

    The graph, which was read before or after the key was made, must be the file's as well.
    """
    try:
        return model.is_as_read and model.sha256() == content
    except OSError:
        return False
