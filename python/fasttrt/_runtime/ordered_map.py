"""`Engine.map`'s results, in order."""

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from fasttrt._common.checks import is_one_of, refuse
from fasttrt._common.progress import counter
from fasttrt.errors import Error, QueueFullError


def settle(futures: Collection[Future[Any]]) -> None:
    """Cancel calls that have not started, and wait for the others."""
    for future in [future for future in futures if not future.cancel()]:
        with suppress(CancelledError):
            future.exception()


def failed(error: Exception) -> Future[Any]:
    """Return a future of a call that was rejected before it could start."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def ordered_map(
    begin: Callable[[tuple[Any, ...]], Future[Any]],
    iterable: Iterable[Any],
    in_flight: int | None,
    errors: str,
    progress: Callable[[int], None] | bool,
    runs: int,
) -> Generator[Any, None, None]:
    """Return the generator of `Engine.map`.

    Args:
        begin: starts a run of these inputs, and returns once its arrays may be changed.
        iterable: the items, see `Engine.map`, as for the next three arguments.
        in_flight: None: one more than ``runs``, and at least 2.
        errors: ``"raise"`` or ``"return"``.
        progress: True, False or a callback.
        runs: the maximum number of concurrent runs.
    """
    if in_flight is None:
        in_flight = max(2, runs + 1)
    if not isinstance(in_flight, int) or isinstance(in_flight, bool) or in_flight < 1:
        refuse("in_flight", "an integer >= 1 or None", in_flight)
    if not is_one_of(errors, ("raise", "return")):
        refuse("errors", '"raise" or "return"', errors)
    if not callable(progress) and not isinstance(progress, bool):
        refuse("progress", "True, False or a callable", progress)

    try:
        source = iter(iterable)
    except TypeError:
        refuse("iterable", "an iterable of inputs", iterable)

    def submit(item: Any) -> Future[Any]:
        return begin(item if isinstance(item, tuple) else (item,))

    def results(items: Iterator[Any], ahead: int, total: int | None) -> Generator[Any, None, None]:
        with counter(progress, total) as report:
            keep = errors == "return"
            yield from in_order(submit, items, ahead, keep_errors=keep, report=report)

    return results(source, in_flight, _length(iterable))


def _length(iterable: Iterable[Any]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except TypeError:
        return None


def in_order(
    submit: Callable[[Any], Future[Any]],
    items: Iterator[Any],
    in_flight: int,
    *,
    keep_errors: bool,
    report: Callable[[int], None],
) -> Generator[Any, None, None]:
    """Yield the results of all items in their order, leaving no run behind when it ends.

    Args:
        submit: starts an item.
        items: the source, read by whoever iterates over the results.
        in_flight: how many items to read ahead of the results.
        keep_errors: whether to yield an item's exception in its place instead of raising it.
        report: called with the number of completed items, before each result.
    """
    ahead: deque[Future[Any]] = deque()
    end: Exception | None = None  # the source's exception
    ended = False
    index = 0
    try:
        while True:
            while not ended and len(ahead) < in_flight:
                try:
                    ahead.append(_patiently(submit, next(items), ahead))
                except StopIteration:
                    ended = True
                except Exception as error:
                    ended, end = True, error
            if not ahead:
                break
            outcome = _outcome(ahead[0], index)
            ahead.popleft()
            index += 1
            if isinstance(outcome, Exception) and not keep_errors:
                raise outcome
            report(index)
            yield outcome
            outcome = None  # only the consumer holds it
        if end is not None:
            raise end
    finally:
        settle(ahead)


def _patiently(
    submit: Callable[[Any], Future[Any]], item: Any, ahead: Iterable[Future[Any]]
) -> Future[Any]:
    """Start an item; while the queue is full, wait for the items before it."""
    waited_for = iter(ahead)
    while True:
        try:
            return submit(item)
        except QueueFullError as error:
            earlier = next(waited_for, None)
            if earlier is None:  # it is full of other callers' requests
                return failed(error)
        with suppress(CancelledError):
            earlier.exception()


def _outcome(future: Future[Any], index: int) -> Any:
    try:
        error = future.exception()
    except CancelledError:  # by Engine.close()
        raise Error("the engine is closed") from None
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return with_index(error, index)


def with_index(error: Exception, index: int) -> Exception:
    """Add an item's index to an exception: as its attribute ``index``, and for the reader.

    fasttrt's own exceptions get it in their message; others get a note (PEP 678's ``__notes__``,
    which Python 3.10 stores but does not print), as their arguments have meanings of their own.
    """
    vars(error)["index"] = index
    where = f"item {index}"
    if isinstance(error, Error) and error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    else:
        vars(error).setdefault("__notes__", []).append(where)
    return error
