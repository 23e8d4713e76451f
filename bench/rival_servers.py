"""Other servers of an ONNX model, each in the Python that has it; `serving.py` starts them.

python rival_servers.py granian|kserve|mlserver|litserve MODEL PORT [DEVICE]

All run the model's float32 input x to y in one worker: on the CPU in ONNX Runtime, which needs no
fasttrt, on a GPU in an engine of fasttrt, as `fasttrt serve` does, so that they differ in all else.
Each takes the shortest format that it knows: binary tensors of Triton's protocol (granian with a
handler, KServe's SDK), its JSON (MLServer, which has no binary tensors over HTTP), or base64 in
JSON of its own (LitServe).
"""

# mypy: ignore-errors
# ruff: noqa: D101, D102
from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson

MODEL = "FASTTRT_BENCH_MODEL"
DEVICE = "FASTTRT_BENCH_DEVICE"
NAME = "m"


class GpuModel:
    """An engine of fasttrt, called like a session of ONNX Runtime."""

    def __init__(self, path: str, device: str) -> None:
        import fasttrt

        self._engine = fasttrt.Engine(path, device=device)

    def run(self, _: None, feeds: dict[str, Any]) -> list[Any]:
        return [self._engine.infer(feeds["x"])]


def open_model(path: str) -> onnxruntime.InferenceSession | GpuModel:
    """Open it with the defaults, as `fasttrt serve` does, on the device that was asked for."""
    device = os.environ.get(DEVICE, "cpu")
    return onnxruntime.InferenceSession(path) if device == "cpu" else GpuModel(path, device)


class Handler:
    """Triton's protocol with binary tensors, as little of it as a request needs."""

    def __init__(self, path: str) -> None:
        self.session = open_model(path)

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """Answer a request of granian's RSGI."""
        body = await protocol()
        try:
            begin = int(scope.headers.get("inference-header-content-length"))
            request = orjson.loads(body[:begin])
            (tensor,) = request["inputs"]
            shape, size = tensor["shape"], tensor["parameters"]["binary_data_size"]
            if tensor["name"] != "x" or tensor["datatype"] != "FP32" or begin + size != len(body):
                raise ValueError("expected x, FP32")
            x = np.frombuffer(body, np.float32, offset=begin).reshape(shape)
        except (KeyError, TypeError, ValueError) as error:
            protocol.response_str(400, [("content-type", "application/json")], str(error))
            return
        (y,) = self.session.run(None, {"x": x})
        output = {
            "name": "y",
            "datatype": "FP32",
            "shape": y.shape,
            "parameters": {"binary_data_size": y.nbytes},
        }
        header = orjson.dumps({"model_name": NAME, "model_version": "1", "outputs": [output]})
        protocol.response_bytes(
            200,
            [
                ("content-type", "application/octet-stream"),
                ("inference-header-content-length", str(len(header))),
            ],
            header + y.tobytes(),
        )


def serve_granian(path: str, port: int) -> None:
    from granian.constants import Interfaces
    from granian.server import Server

    os.environ[MODEL] = path
    Server(
        f"{Path(__file__).stem}:handler", port=port, interface=Interfaces.RSGI, workers=1,
        log_enabled=False, websockets=False,
    ).serve()  # fmt: skip


def serve_kserve(path: str, port: int) -> None:
    import kserve
    from kserve.protocol.infer_type import InferOutput, InferRequest, InferResponse

    class Model(kserve.Model):
        def load(self) -> bool:
            self.session = open_model(path)
            self.ready = True
            return True

        async def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
            (y,) = self.session.run(None, {"x": payload.inputs[0].as_numpy()})
            output = InferOutput("y", list(y.shape), "FP32")
            output.set_data_from_numpy(y, binary_data=True)
            return InferResponse(
                payload.id or "1", NAME, [output], use_binary_outputs=payload.use_binary_outputs
            )

    model = Model(NAME)
    model.load()
    server = kserve.ModelServer(
        http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False,
        access_log_format=None,
    )  # fmt: skip
    server.start([model])


def serve_mlserver(path: str, port: int) -> None:
    from mlserver import MLServer, ModelSettings, Settings

    os.environ[MODEL] = path
    settings = Settings(
        http_port=port, grpc_port=port + 1, parallel_workers=0, metrics_endpoint=None, debug=False,
        environments_dir="", access_log=False,
    )  # fmt: skip
    model = ModelSettings(name=NAME, implementation=f"{Path(__file__).stem}.Runtime")
    asyncio.run(MLServer(settings).start([model]))


if importlib.util.find_spec("mlserver"):
    import mlserver
    from mlserver.codecs import NumpyCodec

    class Runtime(mlserver.MLModel):  # imported by its name
        async def load(self) -> bool:
            self.session = open_model(os.environ[MODEL])
            return True

        async def predict(self, payload: Any) -> Any:
            (y,) = self.session.run(None, {"x": NumpyCodec.decode_input(payload.inputs[0])})
            outputs = [NumpyCodec.encode_output("y", y)]
            return mlserver.types.InferenceResponse(model_name=NAME, outputs=outputs)


def serve_litserve(path: str, port: int) -> None:
    os.environ[MODEL] = path
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(port=port, generate_client_file=False, log_level="error", num_api_servers=1)


if importlib.util.find_spec("litserve"):
    import litserve

    class Api(litserve.LitAPI):  # its processes look for it here
        def setup(self, device: str) -> None:
            self.session = open_model(os.environ[MODEL])

        def decode_request(self, request):
            x = np.frombuffer(base64.b64decode(request["x"]), np.float32)
            return x.reshape(request["shape"])

        def predict(self, x: Any) -> Any:
            return self.session.run(None, {"x": x})[0]

        def encode_response(self, output: Any) -> dict[str, Any]:
            return {"y": base64.b64encode(output.tobytes()).decode(), "shape": output.shape}


SERVERS = {
    "granian": serve_granian,
    "kserve": serve_kserve,
    "mlserver": serve_mlserver,
    "litserve": serve_litserve,
}
if __name__ != "__main__" and MODEL in os.environ:  # in granian's worker
    handler = Handler(os.environ[MODEL])

if __name__ == "__main__":
    name, path, port, *device = sys.argv[1:]
    if device:
        os.environ[DEVICE] = device[0]
    SERVERS[name](path, int(port))
