"""ONNX models: read, walked over, typed, changed. It knows no TensorRT.

May use `_common`.
"""
