"""Why a plan does not run here, naming both sides."""

from collections.abc import Sequence

from fasttrt import _core
from fasttrt._library.plugins import Record, missing_plugins
from fasttrt._plan.plan_file import Plan


def known_mismatch(plan: Plan, found: _core.Library) -> str:
    """Why a library cannot run a plan, known without asking it; empty if nothing is."""
    built_by = plan.metadata.get("library", {})
    family = built_by.get("family")
    if family is None:
        return ""
    by = f"a plan of {family} {built_by['version']}"
    if (family == "rtx") != (found.family == "rtx"):
        return f"{by} does not run on {found}"
    config = plan.metadata.get("config")
    if found.family == "lean" and config and not config.get("version_compatible"):
        return (
            f"{by} does not run on {found}, which runs only plans that were built with "
            "BuildConfig(version_compatible=True)"
        )
    return ""


def carries_host_code(plan: Plan) -> bool:
    """Whether a plan is one with a runtime of its own, see `BuildConfig.version_compatible`."""
    config = plan.metadata.get("config", {})
    return bool(config.get("version_compatible") and not config.get("exclude_lean_runtime"))


def hints(
    plan: Plan, found: _core.Library, engine_host_code: bool, plugins: Sequence[Record]
) -> list[str]:
    """What may help with a plan that TensorRT has refused, in sentences."""
    config = plan.metadata.get("config", {})
    found_hints = [missing_plugins(plan.metadata.get("plugins", ()), plugins)]
    if carries_host_code(plan) and not engine_host_code:
        found_hints.append(
            "the plan is version-compatible and carries its runtime, host code which runs only "
            "with config=BuildConfig(engine_host_code=True): for plans that you trust"
        )
    elif config.get("exclude_lean_runtime") and found.family != "lean":
        found_hints.append(
            "the plan was built without its runtime (exclude_lean_runtime=True): another release "
            'runs it through the lean runtime, library="lean"'
        )
    return [hint for hint in found_hints if hint]


def both_sides(plan: Plan, found: _core.Library, device: int) -> str:
    """What built the plan, and what is here."""
    built_by, gpu = plan.metadata.get("library"), plan.metadata.get("gpu")
    by = f"{built_by['family']} {built_by['version']}" if built_by else "an unknown TensorRT"
    where = f" for {gpu['name']} ({gpu['compute_capability']})" if gpu else ""
    info = _core.device_info(device)
    problem = found.gpu_problem(info.major, info.minor)
    here = f"{found.family} {found.version} on {info.name} ({info.major}.{info.minor})"
    return f"built by {by}{where}; here is {here}{'; ' + problem if problem else ''}"
