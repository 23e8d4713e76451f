"""`WaitingRequests`: requests that wait until their models are in memory, with their deadlines."""

import threading
import time

from fasttrt._serving.model_entry import VersionEntry, WaitingRequest
from fasttrt.errors import DeadlineError, QueueFullError


class WaitingRequests:
    """Queues requests, and ends those that wait for too long."""

    def __init__(self, changed: threading.Condition) -> None:
        """Begin with none; ``changed`` guards the entries."""
        self._changed = changed
        self._with_deadline: dict[WaitingRequest, VersionEntry] = {}
        self._is_watching = False

    def add(self, known: VersionEntry, request: WaitingRequest, limit: int | None) -> None:
        """Let a request wait for a version; called with the lock.

        Raises:
            QueueFullError: ``limit`` requests wait for it already.
        """
        count = len(known.waiting)
        if limit is not None and count >= limit:
            raise QueueFullError(f"the queue is full: {count} requests wait, max_queue is {limit}")
        known.waiting.append(request)
        if request.deadline is not None:
            self._with_deadline[request] = known
            self._changed.notify_all()
            if not self._is_watching:
                self._is_watching = True
                threading.Thread(target=self._watch, name="fasttrt-waiting", daemon=True).start()

    def _watch(self) -> None:
        """End requests at their deadlines, as long as there are any."""
        while True:
            with self._changed:
                now = time.monotonic()
                late = []
                for request, known in list(self._with_deadline.items()):
                    if request not in known.waiting:
                        del self._with_deadline[request]
                    elif request.deadline is not None and request.deadline <= now:
                        del self._with_deadline[request]
                        known.waiting.remove(request)
                        late.append(request)
                if not late:
                    if not self._with_deadline:
                        self._is_watching = False
                        return
                    self._changed.wait(min(r.deadline or now for r in self._with_deadline) - now)
            for request in late:
                request.proceed(DeadlineError("the model was not in memory by the deadline"))
