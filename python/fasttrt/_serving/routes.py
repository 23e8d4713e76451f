"""Which paths there are, and what each of them is for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Action = Literal[
    "live", "ready", "server", "model", "model_ready", "infer", "config", "stats", "index", "load",
    "unload", "metrics", "system_status", "system_register", "system_unregister", "cuda_status",
    "cuda_register", "cuda_unregister", "trace", "logging", "generate", "overview", "page",
    "openapi",
]  # fmt: skip


@dataclass(frozen=True)
class Route:
    """Where a path leads.

    Attributes:
        action: what to do.
        methods: those that the path has.
        model: a model's name; empty where the path has none.
        version: digits; None where the path has none.
        repository: a repository's name; empty where the path has none.
        region: a shared-memory region's name; empty where the path has none.
    """

    action: Action
    methods: tuple[str, ...] = ("GET",)
    model: str = ""
    version: str | None = None
    repository: str = ""
    region: str = ""


_OF_MODELS: dict[tuple[str, ...], Route] = {
    (): Route("model"),
    ("ready",): Route("model_ready"),
    ("config",): Route("config"),
    ("stats",): Route("stats"),
    ("infer",): Route("infer", ("POST",)),
    ("generate",): Route("generate", ("POST",)),
    ("generate_stream",): Route("generate", ("POST",)),
    ("trace", "setting"): Route("trace", ("GET", "POST")),
}
_FIXED: dict[tuple[str, ...], Route] = {
    ("metrics",): Route("metrics"),
    ("ui",): Route("page"),
    ("ui", ""): Route("page"),
    ("v2",): Route("server"),
    ("v2", "health", "live"): Route("live"),
    ("v2", "health", "ready"): Route("ready"),
    ("v2", "overview"): Route("overview"),
    ("v2", "openapi.json"): Route("openapi"),
    ("v2", "models", "stats"): Route("stats"),
    ("v2", "trace", "setting"): Route("trace", ("GET", "POST")),
    ("v2", "logging"): Route("logging", ("GET", "POST")),
}


def find_route(segments: Sequence[str]) -> Route | None:
    """Return where a path leads, by its decoded segments; None for a path that is not there."""
    path = tuple(segments)
    if path in _FIXED:
        return _FIXED[path]
    if len(path) < 3 or path[0] != "v2" or not all(path):
        return None
    if path[1] == "models":
        return _of_model(path[2], path[3:])
    if path[1] == "repository":
        return _of_repository(path[2:])
    if path[1] == "systemsharedmemory":
        return _of_shared_memory("system", path[2:])
    if path[1] == "cudasharedmemory":
        return _of_shared_memory("cuda", path[2:])
    return None


def _of_model(name: str, rest: tuple[str, ...]) -> Route | None:
    version = None
    if len(rest) >= 2 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
        if not (version.isascii() and version.isdigit()):
            return None
    found = _OF_MODELS.get(rest)
    return found and replace(found, model=name, version=version)


def _of_repository(rest: tuple[str, ...]) -> Route | None:
    match rest:
        case ("index",):
            return Route("index", ("POST",))
        case (repository, "index"):
            return Route("index", ("POST",), repository=repository)
        case ("models", name, "load" | "unload" as action):
            return Route("load" if action == "load" else "unload", ("POST",), name)
        case (repository, "models", name, "load" | "unload" as action):
            found: Action = "load" if action == "load" else "unload"
            return Route(found, ("POST",), name, repository=repository)
    return None


_OF_REGIONS: dict[tuple[str, str], Route] = {
    ("system", "status"): Route("system_status"),
    ("system", "register"): Route("system_register", ("POST",)),
    ("system", "unregister"): Route("system_unregister", ("POST",)),
    ("cuda", "status"): Route("cuda_status"),
    ("cuda", "register"): Route("cuda_register", ("POST",)),
    ("cuda", "unregister"): Route("cuda_unregister", ("POST",)),
}


def _of_shared_memory(kind: str, rest: tuple[str, ...]) -> Route | None:
    region = ""
    if len(rest) == 3 and rest[0] == "region":
        region, rest = rest[1], rest[2:]
    if len(rest) != 1 or (rest[0] == "register" and not region):
        return None
    found = _OF_REGIONS.get((kind, rest[0]))
    return found and replace(found, region=region)
