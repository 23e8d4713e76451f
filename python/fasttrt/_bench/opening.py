"""Which options of an engine change its model."""

from typing import Any


def changes_of(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that do."""
    return {name: options[name] for name in ("freeze", "dims") if name in options}
