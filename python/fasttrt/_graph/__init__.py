"""ONNX models: reading, traversal, types, changes, all without TensorRT.

May use `_common`.
"""
