"""Where a tensor lies in shared memory, as its parameters say."""

from collections.abc import Mapping
from typing import Any

from fasttrt._common.checks import is_integer
from fasttrt._serving.http import kind
from fasttrt._serving.shared_memory import SharedMemory, SharedPart
from fasttrt.errors import InputError

_REGION = "shared_memory_region"
_SIZE = "shared_memory_byte_size"
_OFFSET = "shared_memory_offset"


def shared_part(
    what: str, parameters: Mapping[str, Any], shared_memory: SharedMemory
) -> SharedPart | None:
    """Return the part of a region that a tensor's parameters name; None if they name none.

    Args:
        what: the tensor, for messages.
        parameters: the tensor's.
        shared_memory: what is registered.

    Raises:
        InputError: they are incomplete or malformed, or the region is smaller.
        UnsupportedRequestError: shared memory is off.
        UnknownRegionError: the region is not registered.
    """
    given = {key: parameters.get(key) for key in (_REGION, _SIZE, _OFFSET)}
    if all(value is None for value in given.values()):
        return None
    shared_memory.check_allowed()
    region = given[_REGION]
    if not isinstance(region, str):
        raise InputError(f"{what}: expected {_REGION} to be a string, got {_got(region)}")
    offset: Any = 0 if given[_OFFSET] is None else given[_OFFSET]
    size: Any = given[_SIZE]
    for key, value in ((_SIZE, size), (_OFFSET, offset)):
        if not is_integer(value, 0, 2**63 - 1):
            raise InputError(f"{what}: expected {key} to be an integer >= 0, got {_got(value)}")
    return shared_memory.part(region, offset, size)


def _got(value: Any) -> str:
    return "none" if value is None else kind(value)
