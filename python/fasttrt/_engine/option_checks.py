"""The options of `Engine`, checked before anything is opened."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Literal, NamedTuple

from fasttrt._builder.build import check_isolate
from fasttrt._common.checks import refuse
from fasttrt._common.progress import check_progress
from fasttrt._engine.backend_factory import RunOptions
from fasttrt._engine.warmup import check_warmup
from fasttrt._graph.model import OnnxModel
from fasttrt._library.plugins import as_files
from fasttrt._plan.build_config import BuildConfig, check_config
from fasttrt._plan.profiles import check_shapes
from fasttrt._plan.tuned import Request, parse_tuned
from fasttrt._runtime.request_options import check_max_queue


class CheckedOptions(NamedTuple):
    """Options in the forms in which they are used."""

    run: RunOptions
    config: BuildConfig
    tuned: Request | Literal["observed"] | None


def check_options(given: Mapping[str, Any]) -> CheckedOptions:
    """Return the options of `Engine` as they are used.

    Args:
        given: all options by name, but ``progress``.

    Raises:
        InputError: a value is not what an option takes.
        Error: ``weights`` cannot be read, see `OnnxModel`.
    """
    weights, tuned = given["weights"], given["tuned"]
    run = RunOptions(
        given["contexts"], given["specialization"], given["cuda_graph"], given["wait"],
        given["batching"], None if weights is None else OnnxModel(weights, name="weights"),
        given["weight_streaming_budget"], as_files(given["plugins"]),
    )  # fmt: skip
    config = check_config(given["config"]).with_precision(given["precision"])
    check_shapes(given["shapes"])
    observes = isinstance(tuned, str) and tuned == "observed"
    request: Request | Literal["observed"] | None = "observed" if observes else parse_tuned(tuned)
    check_isolate(given["isolate"])
    check_max_queue(given["max_queue"])
    check_warmup(given["warmup"])
    if not isinstance(given["advise"], bool):
        refuse("advise", "True or False", given["advise"])
    return CheckedOptions(run, config, request)


def check_sent_options(engine: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check options that another machine is going to open an engine with.

    Files are left to that machine.

    Args:
        engine: the class, for the names of its options and their defaults.
        given: some of the options by name.

    Raises:
        InputError: a value is not what an option takes.
        TypeError: there is no such option.
    """
    bound = signature(engine).bind(None, **given)
    bound.apply_defaults()
    check_options({**bound.arguments, "weights": None, "plugins": ()})
    check_progress(bound.arguments["progress"])
