"""Values that JSON has, from those of reports."""

import math
from collections.abc import Mapping
from typing import Any


def json_value(value: Any) -> Any:
    """Convert nested values for JSON, which has no NaN and no infinity: both become None.

    Mappings become dicts, sequences lists; everything else stays as it is.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return value
