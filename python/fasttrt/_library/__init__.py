"""The TensorRT and the GPUs at hand, and TensorRT's plugins and log.

May use `_common`; it knows no model.
"""
