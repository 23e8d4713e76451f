"""A plan from the cache, or built and put there."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fasttrt._builder.build import build
from fasttrt._cache.key import digest_of, key_parts
from fasttrt._cache.lock import building
from fasttrt._cache.store import Store
from fasttrt._cache.timing_cache import forget_timings, kept_timings
from fasttrt._common.log import logger
from fasttrt._common.progress import ProgressCallback
from fasttrt._graph.model import OnnxModel
from fasttrt._library.device import default_device, gpu_model, parse_device
from fasttrt._library.discovery import find
from fasttrt._library.plugins import Plugins, describe
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.plan_file import Plan
from fasttrt._plan.profiles import Shapes
from fasttrt.errors import BuildError

TIMINGS_REFUSED = "timing_cache was refused"  # how the core begins that error


@dataclass
class Source:
    """A plan to load, and how to get a new one if it does not load."""

    plan: Plan
    renew: "Callable[[Plan], Source] | None" = None
    """Builds it anew. None for a plan that was given, or has just been built."""
    keep: Callable[[Plan], None] = lambda plan: None
    """Puts it in its place in the cache, if it has one."""

    def note(self, **metadata: Any) -> None:
        """Add to what is known of the plan, in the cache too."""
        self.plan = Plan(self.plan.data, self.plan.metadata | metadata)
        self.keep(self.plan)

    def rebuild(self, reason: str) -> None:
        """Replace a plan from the cache that does not load."""
        assert self.renew is not None
        logger.warning("the plan from the cache does not load, so it is built anew: %s", reason)
        found = self.renew(self.plan)
        self.plan, self.renew, self.keep = found.plan, found.renew, found.keep


def cached_build(
    model: OnnxModel,
    config: BuildConfig,
    *,
    shapes: Shapes | None,
    library: str | os.PathLike[str],
    device: str | None,
    progress: ProgressCallback | bool | None,
    cache: Path | None,
    plugins: Plugins = (),
    isolate: bool | float = False,
    advise: bool = False,
) -> Source:
    """Build a model, or take what was built of the same before.

    Args:
        model: what is built.
        config: see `fasttrt.build`; likewise what follows.
        shapes: of dynamic inputs.
        library: which TensorRT.
        device: the GPU to build for.
        progress: what is shown of a build.
        cache: the folder; None for no cache.
        plugins: what is loaded for it.
        isolate: whether in a process of its own.
        advise: whether an error says what would help.

    Raises:
        Error: as `fasttrt.build`.
    """
    ordinal = default_device() if device is None else parse_device(device)

    def built(config: BuildConfig) -> Plan:
        return build(
            model, config, shapes=shapes, library=library, device=device, plugins=plugins,
            progress=progress, isolate=isolate, advise=advise,
        )  # fmt: skip

    if cache is None:
        return Source(built(config))
    found = find(library, ordinal)
    gpu = None if ordinal is None else gpu_model(ordinal)
    content = model.sha256()
    extra: dict[str, object] = {"plugins": describe(plugins)}
    if model.is_changed:  # the plan tells of it, and a model that was saved like this is another
        extra["changed_by"] = digest_of(model.arguments)
    parts = key_parts(content, config, shapes, found, gpu, extra)
    store, key = Store(cache), digest_of(parts)
    name = str(model.path or "a model in memory")

    def timed() -> Plan:
        if found.family != "tensorrt" or config.timing_cache is not None or gpu is None:
            return built(config)
        try:
            with kept_timings(store, found, gpu) as file:
                return built(replace(config, timing_cache=file))
        except BuildError as error:
            if TIMINGS_REFUSED not in str(error):
                raise
            logger.warning("the cache's timings are dropped: %s", error)
        forget_timings(store, found, gpu)
        with kept_timings(store, found, gpu) as file:
            return built(replace(config, timing_cache=file))

    def kept(plan: Plan) -> None:
        with building(store.folder, key, name):
            store.write(plan)

    def renewed(broken: Plan | None) -> Source:
        with building(store.folder, key, name):
            plan = store.read(parts, quietly=True)  # its problem was told before
            if plan is not None and (broken is None or plan.digest != broken.digest):
                return Source(plan, renewed, kept)  # another process has built it meanwhile
            plan = timed()
            about = {"cache": parts, "model_name": model.path.name if model.path else None}
            plan = Plan(plan.data, plan.metadata | about)
            if not _is_unchanged(model, content):
                logger.warning("%s changed while it was built, so the plan is not cached", name)
                return Source(plan)
            store.write(plan)
            return Source(plan, None, kept)

    plan = store.read(parts)
    if plan is None:
        return renewed(None)
    logger.info("%s: the plan is in the cache: %s", name, store.path_of(key))
    return Source(plan, renewed, kept)


def _is_unchanged(model: OnnxModel, content: str) -> bool:
    """Whether the files that TensorRT has read are still those that the key was made of.

    And whether the graph, which was read before the key was made or after, is the file's.
    """
    try:
        return model.is_as_read and model.sha256() == content
    except OSError:
        return False
