"""Post-training quantization of float32 models to int8: `quantize`.

May use `_runtime` and what is below it, but not `Engine`.
"""
