"""The choice of when TensorRT-RTX compiles kernels for the shapes of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttrt import _core
from fasttrt._common.log import logger
from fasttrt._plan.metadata import GROUPED_CONVOLUTIONS

_MAX_LISTED = 3


def specialization_for(
    specialization: str, metadata: Mapping[str, Any], library: _core.Library
) -> str:
    """Return the core's strategy for a plan: ``"eager"``, ``"lazy"`` or ``"none"``.

    Args:
        specialization: one of these or ``"auto"``, see `Engine`.
        metadata: the plan's metadata.
        library: the library that runs it.
    """
    convolutions = metadata.get(GROUPED_CONVOLUTIONS, ())
    is_automatic = specialization == "auto"
    if library.family != "rtx" or not convolutions:
        return "eager" if is_automatic else specialization
    if is_automatic:
        logger.warning(
            'specialization="none": %s compiles wrong kernels for the sizes of a run of some '
            "grouped convolutions (%s), so slower ones serve all sizes; fixed sizes (dims=) get "
            "fast ones", library, _listed(convolutions),
        )  # fmt: skip
        return "none"
    if specialization != "none":
        logger.warning(
            'specialization="%s": %s may compile wrong kernels for the sizes of a run of some '
            "grouped convolutions (%s): results may be wrong, and the GPU may fail for the whole "
            'process; specialization="none" is safe', specialization, library,
            _listed(convolutions),
        )  # fmt: skip
    return specialization


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
