"""Serving engines over the network by Triton's protocol.

server = fasttrt.serve({"mlp": engine})
app = fasttrt.serving.asgi({"mlp": engine})
"""

from fasttrt._serving.asgi import AsgiApp, asgi
from fasttrt._serving.server import Server
from fasttrt._serving.server_options import ServerOptions

__all__ = ["AsgiApp", "Server", "ServerOptions", "asgi"]

for _value in (AsgiApp, Server, ServerOptions, asgi):
    _value.__module__ = __name__
