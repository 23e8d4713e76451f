"""Prepare the caller's ONNX model for TensorRT's parser, see `pipeline`, and parse it.

May use `_plan` and what is below it.
"""
