"""Several models are loaded at once."""

import queue
import threading
from collections.abc import Callable, Sequence

from fasttrt.errors import Error

_LOADERS = 4
"""How many at once."""


def load_all(names: Sequence[str], load: Callable[[str], None]) -> dict[str, Error]:
    """Call a function for each name, from several threads, and return the errors by name."""
    waiting = queue.SimpleQueue[str]()
    for name in names:
        waiting.put(name)
    errors: dict[str, Error] = {}

    def work() -> None:
        while True:
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                load(name)
            except Error as error:
                errors[name] = error

    # Daemons, unlike a pool's: the process may end while they build.
    threads = [
        threading.Thread(target=work, name=f"fasttrt-load-{index}", daemon=True)
        for index in range(min(_LOADERS, len(names)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(sorted(errors.items()))
