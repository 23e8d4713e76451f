"""Conversion to float16 and bfloat16, and the check of what an engine computes in.

May use `_parser` and what is below it.
"""

DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
"""The types of 16 bits, by the name that ``precision=`` has for each."""
