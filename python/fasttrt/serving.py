"""Serving engines over the network by Triton's protocol.

app = fasttrt.serving.asgi({"mlp": engine})
"""

from fasttrt._serving.asgi import AsgiApp, asgi

__all__ = ["AsgiApp", "asgi"]

for _value in (AsgiApp, asgi):
    _value.__module__ = __name__
