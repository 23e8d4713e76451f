"""Tests of `fasttrt._precision`."""
