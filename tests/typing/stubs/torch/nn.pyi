from collections.abc import Callable
from typing import Any

class Module:
    forward: Callable[..., Any]
    __call__: Callable[..., Any]
    def eval(self) -> Module: ...
