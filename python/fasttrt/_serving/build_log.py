"""Progress of builds in the log, as a server has no terminal."""

import time

from fasttrt._common.log import logger
from fasttrt._common.progress import BuildProgress

_SECONDS = 10.0
"""How often a line is logged, at most."""


class BuildLog:
    """Logs how far a build is, every few seconds; of several builds at once, now and then each."""

    def __init__(self) -> None:
        """Begin with the next step."""
        self._last = time.monotonic()

    def __call__(self, progress: BuildProgress) -> None:
        """Take a step of a build."""
        now = time.monotonic()
        if not progress.parent and now - self._last >= _SECONDS:
            self._last = now
            logger.info("building: %s, %d of %d", progress.phase, progress.step, progress.steps)
