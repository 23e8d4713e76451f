"""Showing a build's progress."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias


class BuildProgress(NamedTuple):
    """A step of a build, as TensorRT counts them."""

    phase: str
    """The phase's name, unique while it runs."""
    parent: str
    """The phase that it is part of, ``""`` for none."""
    step: int
    """Steps done, 0 to ``steps``."""
    steps: int
    """Steps in this phase."""


ProgressCallback: TypeAlias = Callable[[BuildProgress], None]
"""Called on the thread that builds; an exception in it stops the build."""


@contextmanager
def reporter(progress: ProgressCallback | bool | None) -> Iterator[ProgressCallback]:
    """What to call with each step.

    Args:
        progress: a callback; True for a bar; False for nothing; None for a bar if standard error is
            a terminal.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and sys.stderr.isatty()):
        with _bar() as bar:
            yield bar
    else:
        yield lambda step: None


@contextmanager
def _bar() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(step: BuildProgress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bar.add_task(step.phase, total=step.steps)
            bar.update(tasks[step.phase], completed=step.step)
            if step.step >= step.steps:
                bar.remove_task(tasks.pop(step.phase))

        yield show
