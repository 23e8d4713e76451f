"""Which engines may be recorded as CUDA graphs.

A graph holds what was queued when it was recorded. Where the host looks at a value in between, as
TensorRT may for the condition of an If or a Loop, another value would get the answer of the first.
TensorRT's documentation says that such a recording fails; TensorRT 8.6.0 was seen to succeed with
an If, and to replay the wrong branch (on an H100).
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
    """The core's policy for a plan.

    Args:
        cuda_graph: ``"auto"``, True or False, see `Engine`.
        metadata: the plan's.
        library: what runs it.

    Raises:
        InputError: graphs are wanted, and the model has control flow.
    """
    found = metadata.get(CONTROL_FLOW)
    if found and cuda_graph is True:
        raise InputError(
            f"cuda_graph=True, but this model cannot be recorded into a CUDA graph: it has "
            f"{' and '.join(found)}, whose course depends on values"
        )
    if cuda_graph == "auto" and found:
        logger.info("this model runs without CUDA graphs: it has %s", " and ".join(found))
        return _POLICIES[False]
    if cuda_graph == "auto" and found is None and library.generation == "v8":
        logger.info(
            "this plan runs without CUDA graphs: it does not say whether it has an If or a Loop, "
            "which %s would record wrongly; cuda_graph=True says that it has none", library,
        )  # fmt: skip
        return _POLICIES[False]
    return _POLICIES[cuda_graph]
