"""Why a plan does not run here: messages that name what built it and what is here."""

from collections.abc import Sequence

from fasttrt import _core
from fasttrt._library.plugins import Record, missing_plugins
from fasttrt._plan.plan_file import Plan


def known_mismatch(plan: Plan, handle: _core.Library) -> str:
    """Say why a library cannot run a plan, judging by the metadata; empty if nothing is known."""
    built_by = plan.metadata.get("library", {})
    family = built_by.get("family")
    if family is None:
        return ""
    by = f"a plan of {family} {built_by['version']}"
    if (family == "rtx") != (handle.family == "rtx"):
        return f"{by} does not run on {handle}"
    config = plan.metadata.get("config")
    if handle.family == "lean" and config and not config.get("version_compatible"):
        return (
            f"{by} does not run on {handle}, which runs only plans that were built with "
            "BuildConfig(version_compatible=True)"
        )
    return ""


def carries_host_code(plan: Plan) -> bool:
    """Return whether a plan contains a runtime of its own, see `BuildConfig.version_compatible`."""
    config = plan.metadata.get("config", {})
    return bool(config.get("version_compatible") and not config.get("exclude_lean_runtime"))


def hints(
    plan: Plan, handle: _core.Library, engine_host_code: bool, plugins: Sequence[Record]
) -> list[str]:
    """Return advice, in sentences, on a plan that TensorRT has rejected."""
    config = plan.metadata.get("config", {})
    sentences = [missing_plugins(plan.metadata.get("plugins", ()), plugins)]
    if carries_host_code(plan) and not engine_host_code:
        sentences.append(
            "the plan is version-compatible and contains its runtime, which is host code and runs "
            "only with config=BuildConfig(engine_host_code=True): for plans that you trust"
        )
    elif config.get("exclude_lean_runtime") and handle.family != "lean":
        sentences.append(
            "the plan was built without its runtime (exclude_lean_runtime=True): other releases "
            'run it through the lean runtime, library="lean"'
        )
    return [hint for hint in sentences if hint]


def both_sides(plan: Plan, handle: _core.Library, device: int) -> str:
    """Say what built the plan, and what is here."""
    built_by, gpu = plan.metadata.get("library"), plan.metadata.get("gpu")
    by = f"{built_by['family']} {built_by['version']}" if built_by else "an unknown TensorRT"
    where = f" for {gpu['name']} ({gpu['compute_capability']})" if gpu else ""
    info = _core.device_info(device)
    problem = handle.gpu_problem(info.major, info.minor)
    here = f"{handle.family} {handle.version} on {info.name} ({info.major}.{info.minor})"
    return f"built by {by}{where}; here is {here}{'; ' + problem if problem else ''}"
