"""`Engine`: opens a model or a plan, and runs it.

May use `_accuracy`, `_quantization` and what is below them.
"""
