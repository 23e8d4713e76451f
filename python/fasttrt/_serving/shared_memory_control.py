"""Shared memory over HTTP: registering it, and what is registered."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from fasttrt._common.checks import is_integer
from fasttrt._serving.http import Body, Request, Response, json_object, json_response, kind
from fasttrt._serving.routes import Route
from fasttrt._serving.shared_memory import SharedMemory
from fasttrt.errors import InputError

_LARGEST = 2**63 - 1


def shared_memory_handlers(
    shared_memory: SharedMemory, read_body: Callable[[Request], Body]
) -> dict[str, Callable[[Request, Route], Response]]:
    """Return what answers requests about shared memory, by the actions of their routes.

    Args:
        shared_memory: what they are about.
        read_body: returns a request's body without compression.
    """

    def system_status(_: Request, route: Route) -> Response:
        regions = shared_memory.system_regions(route.region)
        return json_response(
            [
                {"name": name, "key": region.key, "offset": region.offset, "byte_size": region.size}
                for name, region in regions.items()
            ]
        )

    def cuda_status(_: Request, route: Route) -> Response:
        regions = shared_memory.cuda_regions(route.region)
        return json_response(
            [
                {"name": name, "device_id": region.device, "byte_size": region.size}
                for name, region in regions.items()
            ]
        )

    def register_system(request: Request, route: Route) -> Response:
        shared_memory.check_allowed()
        message = json_object(read_body(request))
        key = message.get("key")
        if not isinstance(key, str):
            raise InputError(f"key: expected a string, got {_got(message, 'key')}")
        offset = _integer(message, "offset") if "offset" in message else 0
        size = _integer(message, "byte_size")
        shared_memory.register_system(route.region, key, offset, size)
        return Response(200)

    def register_cuda(request: Request, route: Route) -> Response:
        shared_memory.check_allowed()
        message = json_object(read_body(request))
        handle, device = _handle(message), _integer(message, "device_id")
        shared_memory.register_cuda(route.region, handle, device, _integer(message, "byte_size"))
        return Response(200)

    def unregister_system(_: Request, route: Route) -> Response:
        shared_memory.unregister("system", route.region)
        return Response(200)

    def unregister_cuda(_: Request, route: Route) -> Response:
        shared_memory.unregister("cuda", route.region)
        return Response(200)

    return {
        "system_status": system_status,
        "system_register": register_system,
        "system_unregister": unregister_system,
        "cuda_status": cuda_status,
        "cuda_register": register_cuda,
        "cuda_unregister": unregister_cuda,
    }


def _handle(message: Mapping[str, Any]) -> bytes:
    handle = message.get("raw_handle")
    text = handle.get("b64") if isinstance(handle, dict) else None
    if not isinstance(text, str):
        got = _got(message, "raw_handle")
        raise InputError(f"raw_handle: expected an object with a string b64, got {got}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"raw_handle: b64: expected base64: {error}") from None


def _integer(message: Mapping[str, Any], field: str) -> int:
    value = message.get(field)
    if not is_integer(value, 0, _LARGEST):
        raise InputError(f"{field}: expected an integer >= 0, got {_got(message, field)}")
    return int(value)  # type: ignore[arg-type]


def _got(message: Mapping[str, Any], field: str) -> str:
    return kind(message[field]) if field in message else "none"
