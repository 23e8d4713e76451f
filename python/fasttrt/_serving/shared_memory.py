"""Shared memory of clients: registered, read and written, whichever protocol asks for it."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from fasttrt import _core
from fasttrt._common.checks import shown
from fasttrt._serving.errors import (
    DuplicateRegionError,
    OverloadedError,
    UnknownRegionError,
    UnsupportedRequestError,
)
from fasttrt._serving.http import Body
from fasttrt.errors import InputError

Kind = Literal["system", "cuda"]
_MAX_COPIED_BYTES = 1 << 30
_MAX_NAME = 255
_LAST_DEVICE = 2**31 - 1
_RESERVED = "triton_python_backend_shm_region_"
_Region = TypeVar("_Region", bound=_core.SharedMemoryRegion)


@dataclass(frozen=True)
class SharedPart:
    """A part of a region, which stays until nobody has it any more.

    Attributes:
        name: the region's.
        offset: where in the region it begins.
        size: its bytes.
    """

    name: str
    offset: int
    size: int
    _region: "_core.SharedMemoryRegion"
    _table: "_core.SharedMemoryTable"

    def read(self) -> Body:
        """Copy it.

        Raises:
            InputError: the client has taken the memory away.
            OverloadedError: too much is being copied.
        """
        copy = self._table.copy(self._region, self.offset, self.size)
        if copy is None:
            raise OverloadedError(
                f"shared memory region '{self.name}': the server has no memory for a copy of "
                f"{self.size} bytes at the moment"
            )
        return copy

    def write(self, data: Body) -> None:
        """Copy bytes to its beginning; there must be no more of them than it has.

        Raises:
            InputError: the client has taken the memory away.
        """
        self._region.write(self.offset, data)


class SharedMemory:
    """The regions that clients have registered, in one name space for all kinds of memory.

    A region that is unregistered is released when the requests that use it are over.

    Attributes:
        table: the regions, for a front end to use; None: shared memory is off.
    """

    def __init__(self, *, allowed: bool = False) -> None:
        """Begin without any region.

        Args:
            allowed: whether there may be any; else all calls but `unregister` of all fail.
        """
        self.table = _core.SharedMemoryTable(_MAX_COPIED_BYTES) if allowed else None

    def check_allowed(self) -> None:
        """Check that there may be shared memory.

        Raises:
            UnsupportedRequestError: it is off.
        """
        self._allowed()

    def register_system(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Register a part of a POSIX shared-memory object.

        Args:
            name: the region's.
            key: the object's name, as in ``"/tensors"``.
            offset: where in the object the region begins.
            byte_size: how many bytes it has.

        Raises:
            UnsupportedRequestError: shared memory is off.
            DuplicateRegionError: the name is taken.
            InputError: the name is none, the object is not there, or it is smaller.
        """
        table = self._free_name(name)
        try:
            region = _core.SystemMemoryRegion(key, offset, byte_size)
        except InputError as error:
            raise _not_registered(name, error) from None
        self._add(table, name, region)

    def register_cuda(self, name: str, raw_handle: bytes, device_id: int, byte_size: int) -> None:
        """Register memory of a GPU that the client has allocated, and frees only once it is not.

        Args:
            name: the region's.
            raw_handle: the memory's ``cudaIpcMemHandle_t``.
            device_id: the GPU's ordinal.
            byte_size: how many bytes the region has.

        Raises:
            UnsupportedRequestError: shared memory is off.
            DuplicateRegionError: the name is taken.
            InputError: the name is none, the handle cannot be opened, or the memory is smaller.
        """
        table = self._free_name(name)
        if device_id > _LAST_DEVICE:
            raise InputError(f"device_id: expected at most {_LAST_DEVICE}, got {device_id}")
        try:
            region = _core.CudaMemoryRegion(raw_handle, device_id, byte_size)
        except InputError as error:
            raise _not_registered(name, error) from None
        self._add(table, name, region)

    def unregister(self, kind: Kind, name: str = "") -> None:
        """Unregister a region if it is there and of this kind; all of the kind without a name.

        Raises:
            UnsupportedRequestError: shared memory is off, and there is a name.
        """
        if name:
            regions = self._of_kind(self._allowed(), kind)
            names = [name] if name in regions else []
        elif self.table is None:  # perf_analyzer begins with it
            return
        else:
            names = list(self._of_kind(self.table, kind))
        for found in names:
            self._allowed().remove(found)

    def system_regions(self, name: str = "") -> "dict[str, _core.SystemMemoryRegion]":
        """Return the regions of POSIX shared memory by their names, or the one of a name.

        Raises:
            UnsupportedRequestError: shared memory is off.
            UnknownRegionError: there is none of this name and kind.
        """
        return self._chosen("system", _core.SystemMemoryRegion, name)

    def cuda_regions(self, name: str = "") -> "dict[str, _core.CudaMemoryRegion]":
        """Return the regions of GPUs' memory by their names, or the one of a name.

        Raises:
            UnsupportedRequestError: shared memory is off.
            UnknownRegionError: there is none of this name and kind.
        """
        return self._chosen("cuda", _core.CudaMemoryRegion, name)

    def part(self, name: str, offset: int, byte_size: int) -> SharedPart:
        """Return a part of a region.

        Raises:
            UnsupportedRequestError: shared memory is off.
            UnknownRegionError: there is no such region.
            InputError: it ends before the part does.
        """
        table = self._allowed()
        region = table.find(name)
        if region is None:
            raise UnknownRegionError(f"Unable to find shared memory region: '{name}'")
        if offset > region.size:
            raise InputError(
                f"Invalid offset for shared memory region: '{name}': expected at most "
                f"{region.size}, got {offset}"
            )
        if not region.has(offset, byte_size):
            raise InputError(
                f"Invalid offset + byte size for shared memory region: '{name}': expected at most "
                f"{region.size}, got {offset} + {byte_size}"
            )
        return SharedPart(name, offset, byte_size, region, table)

    def _allowed(self) -> "_core.SharedMemoryTable":
        if self.table is None:
            raise UnsupportedRequestError(
                "shared memory is not allowed by this server; `fasttrt serve` allows it with "
                "--allow-shared-memory"
            )
        return self.table

    def _free_name(self, name: str) -> "_core.SharedMemoryTable":
        table = self._allowed()
        if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            raise InputError(
                f"shared memory region: expected a name of 1 to {_MAX_NAME} printable characters, "
                f"got {shown(name)}"
            )
        if name.startswith(_RESERVED):
            raise InputError(
                f"cannot register shared memory region '{name}': names that begin with "
                f"'{_RESERVED}' are reserved"
            )
        if table.find(name) is not None:
            raise _duplicate(name)
        return table

    @staticmethod
    def _add(
        table: "_core.SharedMemoryTable", name: str, region: "_core.SharedMemoryRegion"
    ) -> None:
        if not table.add(name, region):  # somebody was faster
            raise _duplicate(name)

    @staticmethod
    def _of_kind(
        table: "_core.SharedMemoryTable", kind: Kind
    ) -> "dict[str, _core.SharedMemoryRegion]":
        is_system = kind == "system"
        return {
            name: region
            for name, region in table.regions()
            if isinstance(region, _core.SystemMemoryRegion) == is_system
        }

    def _chosen(self, kind: Kind, type_: type[_Region], name: str) -> dict[str, _Region]:
        regions = dict(self._allowed().regions())
        found = {n: r for n, r in regions.items() if isinstance(r, type_) and name in ("", n)}
        if not name or found:
            return found
        if name in regions:
            raise _of_another_kind(name, kind)
        raise _unknown(name, kind)


def _unknown(name: str, kind: Kind) -> UnknownRegionError:
    return UnknownRegionError(f"Unable to find {kind} shared memory region: '{name}'")


def _of_another_kind(name: str, kind: Kind) -> UnknownRegionError:
    return UnknownRegionError(
        f"The region named '{name}' is not registered as {kind} shared memory, but as another kind"
    )


def _duplicate(name: str) -> DuplicateRegionError:
    return DuplicateRegionError(f"shared memory region '{name}' already in manager")


def _not_registered(name: str, error: Exception) -> InputError:
    return InputError(f"failed to register shared memory region '{name}': {error}")
