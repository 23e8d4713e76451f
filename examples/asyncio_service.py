"""A service that answers many clients at once; their samples share runs on the GPU.

python examples/asyncio_service.py model.onnx 8000 --device auto

The model has one float32 input and one output, with the batch as first dimension. A client sends a
sample's bytes and gets the bytes of the result, again and again.
"""

import argparse
import asyncio
from math import prod

import numpy as np

import fasttrt


async def answer(
    engine: fasttrt.Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one client until it hangs up."""
    shape = engine.inputs[0].shape[1:]
    try:
        while True:
            sample = await reader.readexactly(4 * prod(shape))
            x = np.frombuffer(sample, np.float32).reshape(1, *shape)
            y = await engine.ainfer(x)
            writer.write(y.tobytes())
            await writer.drain()
    except asyncio.IncompleteReadError:  # it hung up
        writer.close()


async def serve(model: str, port: int, device: str) -> None:
    """Listen on this machine's loopback address."""
    batching = fasttrt.Batching(max_size=8, max_delay_us=500)
    with fasttrt.Engine(model, device=device, contexts=3, batching=batching) as engine:
        server = await asyncio.start_server(lambda r, w: answer(engine, r, w), "127.0.0.1", port)
        print(f"{engine} on port {server.sockets[0].getsockname()[1]}", flush=True)
        async with server:
            await server.serve_forever()


def main() -> None:
    """Serve until the process is stopped."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("model", help="an ONNX model or a plan")
    options.add_argument("port", type=int, help="0: any that is free")
    options.add_argument("--device", default="auto", help="auto, cuda, cuda:N or cpu")
    chosen = options.parse_args()
    asyncio.run(serve(chosen.model, chosen.port, chosen.device))


if __name__ == "__main__":
    main()
