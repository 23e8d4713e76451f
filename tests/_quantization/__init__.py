"""Tests of `fasttrt._quantization`."""
