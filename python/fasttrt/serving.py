"""Serving engines over the network by Triton's protocol.

`fasttrt.serve` starts a server in this process; `asgi` makes an application for a server that runs
ASGI applications, as uvicorn does.
"""

from fasttrt._serving.asgi import AsgiApp, asgi
from fasttrt._serving.server import Server
from fasttrt._serving.server_options import ServerOptions

__all__ = ["AsgiApp", "Server", "ServerOptions", "asgi"]

for _value in (AsgiApp, Server, ServerOptions, asgi):
    _value.__module__ = __name__
