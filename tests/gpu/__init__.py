"""Tests that need a GPU and a TensorRT that runs on it."""
