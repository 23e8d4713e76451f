"""The start of CUDA on a GPU, beside work that needs none."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fasttrt import _core
from fasttrt._library.device import Device, is_auto, parse_devices
from fasttrt.errors import Error


@contextmanager
def devices_starting(device: Device, devices: Sequence[Device] | None) -> Iterator[None]:
    """Let the driver and the GPUs' contexts start in a thread while the block reads and hashes.

    They take some 0.2 s in a process that has not used the GPU. The contexts are kept until the
    block has ended, by when an engine holds them. What goes wrong is left to the block, which
    meets it again.

    Raises:
        InputError: see `parse_devices`; ``"auto"`` begins with the first GPU.
    """
    if is_auto(device) and devices is None:
        ordinals: Sequence[int] = [0]
    else:
        ordinals = parse_devices(device, devices) or ()
    held: list[_core.PrimaryContext] = []

    def start() -> None:
        try:
            held.extend(map(_core.PrimaryContext, ordinals))
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
