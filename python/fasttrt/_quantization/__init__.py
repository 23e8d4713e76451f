"""`quantize`: int8 models from float32 models and samples.

May use `_runtime` and what is below it; it knows no `Engine`.
"""
