"""Which engines may be captured as CUDA graphs.

A graph contains what was enqueued during capture. If the host reads a value in between, as TensorRT
may for the condition of an If or a Loop, replaying the graph ignores any other value. TensorRT's
documentation says that such a capture fails; TensorRT 8.6.0 was seen to capture an If successfully
and to replay the wrong branch (on an H100).
"""

from collections.abc import Mapping
from typing import Any

from fasttrt import _core
from fasttrt._common.log import logger
from fasttrt._graph.control_flow import CONTROL_FLOW
from fasttrt.errors import InputError

_POLICIES: dict[bool | str, str] = {"auto": "automatic", True: "required", False: "never"}


def graph_policy(
    cuda_graph: bool | str, metadata: Mapping[str, Any], library: _core.Library
) -> str:
    """Return the core's policy for a plan.

    Args:
        cuda_graph: ``"auto"``, True or False, see `Engine`.
        metadata: the plan's metadata.
        library: the library that runs it.

    Raises:
        InputError: graphs are required, and the model has control flow.
    """
    control_flow = metadata.get(CONTROL_FLOW)
    if control_flow and cuda_graph is True:
        raise InputError(
            f"cuda_graph=True, but this model cannot be captured as a CUDA graph: it has "
            f"{' and '.join(control_flow)}, whose control flow depends on values"
        )
    if cuda_graph == "auto" and control_flow:
        logger.info("this model runs without CUDA graphs: it has %s", " and ".join(control_flow))
        return _POLICIES[False]
    if cuda_graph == "auto" and control_flow is None and library.generation == "v8":
        logger.info(
            "this plan runs without CUDA graphs: it does not say whether it has an If or a Loop, "
            "which %s would capture wrongly; cuda_graph=True asserts that it has none", library,
        )  # fmt: skip
        return _POLICIES[False]
    return _POLICIES[cuda_graph]
