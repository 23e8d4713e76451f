"""Precision: models that compute in 16 bits, and the proof that an engine does."""

DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
"""The types of 16 bits, by the name that ``precision=`` has for each."""
