"""A client of the server's that keeps its tensors on a GPU; a process of its own.

Arguments: the server's URL, and a folder with ``x.npy``, to which it writes an array for each
model, as ``NAME.npy``.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

IN_OFFSET, OUT_OFFSET = 256, 4
"""The first one as TensorRT wants it, the other as it does not."""


class DeviceRegion:
    """Memory of this process on a GPU, registered with the server."""

    def __init__(self, client: InferenceServerClient, name: str, size: int) -> None:
        self.pointer = runtime.malloc(size)
        handle = base64.b64encode(runtime.ipcGetMemHandle(self.pointer)).decode()
        client.register_cuda_shared_memory(name, handle, 0, size)

    def put(self, array: Any, offset: int) -> None:
        host = np.ascontiguousarray(array)
        kind = runtime.memcpyHostToDevice
        runtime.memcpy(self.pointer + offset, host.ctypes.data, host.nbytes, kind)
        runtime.deviceSynchronize()

    def get(self, shape: list[int], offset: int) -> Any:
        host = np.empty(shape, np.float32)
        kind = runtime.memcpyDeviceToHost
        runtime.memcpy(host.ctypes.data, self.pointer + offset, host.nbytes, kind)
        return host


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    x = np.load(folder / "x.npy")
    cupy.cuda.Device(0).use()
    with InferenceServerClient(url) as client:
        given = DeviceRegion(client, "in", IN_OFFSET + x.nbytes)
        result = DeviceRegion(client, "out", 1 << 20)
        status = {region["name"]: region for region in client.get_cuda_shared_memory_status()}
        assert status["in"] == {"name": "in", "device_id": 0, "byte_size": IN_OFFSET + x.nbytes}
        for name in sys.argv[3:]:
            for offset in (IN_OFFSET, 0):
                given.put(x, offset)
                tensor = InferInput("x", list(x.shape), "FP32")
                tensor.set_shared_memory("in", x.nbytes, offset)
                output = InferRequestedOutput("y")
                output.set_shared_memory("out", (1 << 20) - OUT_OFFSET, OUT_OFFSET)
                shape = client.infer(name, [tensor], outputs=[output]).get_output("y")["shape"]
                np.save(folder / f"{name}-{offset}.npy", result.get(shape, OUT_OFFSET))
        client.unregister_cuda_shared_memory()
        assert client.get_cuda_shared_memory_status() == []


if __name__ == "__main__":
    main()
