"""ONNX's own node tests through fasttrt; see README.md."""
