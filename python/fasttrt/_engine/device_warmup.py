"""Starting CUDA on the GPUs in parallel with work that does not need them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fasttrt import _core
from fasttrt._library.device import Device, is_auto, parse_devices
from fasttrt.errors import Error


@contextmanager
def warm_up_devices(device: Device, devices: Sequence[Device] | None) -> Iterator[None]:
    """Start the driver and the GPUs' contexts in a thread while the block reads and hashes files.

    This takes about 0.2 s in a process that has not used the GPU yet. The contexts are kept until
    the block ends, by when an engine holds them. Errors are ignored: the block will encounter them
    again.

    Raises:
        InputError: see `parse_devices`; ``"auto"`` starts the first GPU.
    """
    if is_auto(device) and devices is None:
        ordinals: Sequence[int] = [0]
    else:
        ordinals = parse_devices(device, devices) or ()
    contexts: list[_core.PrimaryContext] = []

    def start() -> None:
        try:
            contexts.extend(map(_core.PrimaryContext, ordinals))
        except Error:
            return

    thread = threading.Thread(target=start, name="fasttrt-start")
    try:
        if ordinals:
            thread.start()
    except RuntimeError:  # the interpreter is ending
        ordinals = ()
    try:
        yield
    finally:
        if ordinals:
            thread.join()
