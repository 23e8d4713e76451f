"""Conversion to float16 and bfloat16, and the check of an engine's precision.

May use `_parser` and what is below it.
"""

DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
"""The 16-bit types, by their name in ``precision=``."""
