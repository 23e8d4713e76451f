"""What TensorRT's ONNX parser is given: the caller's model after the passes of `pipeline`.

May use `_plan` and what is below it.
"""
