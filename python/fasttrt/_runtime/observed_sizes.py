"""Sizes that come often get plans of their own, which are built in the background."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from fasttrt._common.log import logger
from fasttrt._common.tensor_spec import Shape, TensorSpec
from fasttrt._runtime.backend import close_all

if TYPE_CHECKING:
    from fasttrt._runtime.backend import Backend

Shapes: TypeAlias = tuple[Shape, ...]
"""A shape for each input."""

OFTEN = 200
"""How many runs with the same shapes come often."""
MOST_PLANS = 8
"""The maximum number of plans besides the engine's own."""
_MOST_COUNTED = 256


class SizeCounter:
    """Finds the shapes that come often, in bounded memory.

    Once as many shapes are counted as there is room for, a run of another one takes one from each
    count instead (the algorithm of Misra and Gries), so rare shapes make room for frequent ones.
    """

    def __init__(self, often: int, most: int = _MOST_COUNTED) -> None:
        """Count up to ``often`` runs of each of at most ``most`` shapes."""
        self._often, self._most = often, most
        self._counts: dict[Shapes, int] = {}

    def add(self, shapes: Shapes) -> bool:
        """Count a run; return whether these shapes have come often, and begin anew then."""
        count = self._counts.get(shapes, 0) + 1
        if count == self._often:
            self._counts.pop(shapes, None)
            return True
        if count > 1 or len(self._counts) < self._most:
            self._counts[shapes] = count
        else:
            self._counts = {seen: n - 1 for seen, n in self._counts.items() if n > 1}
        return False


class ObservedSizes:
    """The plans for shapes that come often, of one engine on one GPU."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        open_plan: Callable[[Mapping[str, Shape]], "Backend"],
        remember: Callable[[list[dict[str, Shape]]], None],
        *,
        known: Sequence[Mapping[str, Sequence[int]]] = (),
        often: int = OFTEN,
        most_plans: int = MOST_PLANS,
    ) -> None:
        """Open the plans for known shapes, in the background.

        Args:
            inputs: the engine's inputs. Shapes with a profile of their own are not observed.
            open_plan: builds and loads a plan for the given shapes, by input, and prepares it so
                that its first run is as fast as later ones. May raise any exception.
            remember: stores the shapes that have a plan for the next start.
            known: shapes from an earlier start.
            often: how many runs of the same shapes come often.
            most_plans: the maximum number of plans.
        """
        self._names = [spec.name for spec in inputs]
        self._open, self._remember = open_plan, remember
        self._most_plans = most_plans
        self._lock = threading.Lock()
        self._counter = SizeCounter(often)
        self._settled = _tuned_shapes(inputs)  # nothing is to be done for these
        self._ready: dict[Shapes, Backend] = {}
        self._wanted: list[Shapes] = []
        self._count = 0  # plans that are wanted, being opened, ready, or failed
        self._worker: threading.Thread | None = None
        self._is_stopped = False
        for shapes in known:
            if shapes.keys() == set(self._names):
                self._want(tuple(tuple(shapes[name]) for name in self._names))

    @property
    def shapes(self) -> list[dict[str, Shape]]:
        """The shapes that have a plan of their own, by input."""
        return [dict(zip(self._names, shapes, strict=True)) for shapes in list(self._ready)]

    def find(self, shapes: Shapes) -> "Backend | None":
        """Return what runs these shapes, if they have a plan."""
        return self._ready.get(shapes)

    def count(self, shapes: Shapes) -> None:
        """Count a run of shapes without a plan; start to build one if they come often."""
        if shapes in self._settled:
            return
        with self._lock:
            comes_often = self._counter.add(shapes)
        if comes_often:
            self._want(shapes)

    @property
    def backends(self) -> list["Backend"]:
        """The plans that are ready."""
        with self._lock:
            return list(self._ready.values())

    def apply(self, change: Callable[["Backend"], None]) -> None:
        """Apply a change to all plans, after which there are no new ones."""
        for backend in self.stop():
            change(backend)

    def stop(self) -> list["Backend"]:
        """Open no more plans, and return those that are ready."""
        with self._lock:
            self._is_stopped = True
            self._wanted.clear()
            return list(self._ready.values())

    def close(self) -> None:
        """Close all plans; one that is being built is dropped when it is ready."""
        close_all(self.stop())

    def _want(self, shapes: Shapes) -> None:
        with self._lock:
            if self._is_stopped or shapes in self._settled or self._count >= self._most_plans:
                return
            self._settled.add(shapes)
            self._count += 1
            self._wanted.append(shapes)
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._work, name="fasttrt-observed-sizes", daemon=True
                )
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._worker = None
                    return
                shapes = self._wanted.pop(0)
            try:
                self._add(shapes)
            except Exception:  # of closing or remembering a plan: the next ones are still wanted
                logger.exception("the plan for %s", shapes)

    def _add(self, shapes: Shapes) -> None:
        by_name = dict(zip(self._names, shapes, strict=True))
        try:
            backend = self._open(by_name)
        except (Exception, KeyboardInterrupt) as error:  # the engine serves these shapes anyway
            logger.warning("no plan for %s: %s", by_name, error)
            return
        with self._lock:
            if not self._is_stopped:
                self._ready = {**self._ready, shapes: backend}  # read without the lock
                remembered = self.shapes
            else:
                remembered = []
        if not remembered:
            backend.close()
            return
        logger.info("runs of %s have a plan of their own now", by_name)
        self._remember(remembered)


def _tuned_shapes(inputs: Sequence[TensorSpec]) -> set[Shapes]:
    """Return the shapes of profiles that have a single one."""
    if not inputs:
        return {()}
    count = min(len(spec.profiles) for spec in inputs)
    return {
        tuple(spec.profiles[i][0] for spec in inputs)
        for i in range(count)
        if all(spec.profiles[i][0] == spec.profiles[i][2] for spec in inputs)
    }
