"""Progress of a build, or of many runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fasttrt._common.checks import refuse
from fasttrt._common.optional_packages import require
from fasttrt._terminal import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class BuildProgress(NamedTuple):
    """A step of a build, as TensorRT counts them.

    Attributes:
        phase: The phase's name, unique while it runs.
        parent: The phase that this one is part of; ``""`` for none.
        step: Steps completed, from 0 to ``steps``.
        steps: The number of steps in this phase.
    """

    phase: str
    parent: str
    step: int
    steps: int


ProgressCallback: TypeAlias = Callable[[BuildProgress], None]
"""A callback for progress, called on the building thread; an exception in it stops the build."""


def check_progress(progress: object) -> None:
    """Check that the ``progress`` of a build is a callback, a boolean or None.

    Raises:
        InputError: it is not.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        refuse("progress", "True, False, None or a callable", progress)


@contextmanager
def reporter(progress: ProgressCallback | bool | None) -> Iterator[ProgressCallback]:
    """Yield the callback to which a build reports its steps.

    Args:
        progress: a callback; True for a progress bar; False for none; None for a bar if standard
            error is a terminal and rich, which draws it, is installed.

    Raises:
        MissingPackageError: ``progress`` is True, and rich is not installed.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and sys.stderr.isatty() and find_spec("rich")):
        with _bar() as bar:
            yield bar
    else:
        yield lambda step: None


@contextmanager
def counter(
    progress: Callable[[int], None] | bool, total: int | None
) -> Iterator[Callable[[int], None]]:
    """Yield the callback to which the number of completed items is reported.

    Args:
        progress: a callback; True for a progress bar; False for none.
        total: the number of items; None if it is unknown.

    Raises:
        MissingPackageError: ``progress`` is True, and rich is not installed.
    """
    if callable(progress):
        yield progress
    elif progress:
        require("a progress bar", "rich")
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("Running"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with _display(*columns) as bar:
            task = bar.add_task("Running", total=total)
            yield lambda count: bar.update(task, completed=count)
    else:
        yield lambda count: None


@contextmanager
def _bar() -> Iterator[ProgressCallback]:
    require("a progress bar", "rich")
    with _display() as bar:
        from rich.markup import escape

        tasks: dict[str, TaskID] = {}

        def show(step: BuildProgress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bar.add_task(escape(printable(step.phase)), total=step.steps)
            bar.update(tasks[step.phase], completed=step.step)
            if step.step >= step.steps:
                bar.remove_task(tasks.pop(step.phase))

        yield show


def _display(*columns: "ProgressColumn") -> "Progress":
    """Create progress bars on standard error that disappear when done.

    Args:
        columns: rich's columns; its default ones if none are passed.
    """
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)
