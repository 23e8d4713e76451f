"""Convert models to float16 and bfloat16, and check the precision of engines.

May use `_parser` and what is below it.
"""

DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
"""The 16-bit types, by their name in ``precision=``."""
