"""Whether Python has a GIL, and what the first Pythons without one do not do."""

from __future__ import annotations

import sys
import sysconfig

IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
IS_FIRST = IS_FREE_THREADED and sys.version_info < (3, 14)
"""3.13: it never frees a class once there were threads, and it may hang at its end, where a daemon
thread was given a lock of Python's that it waited for."""
