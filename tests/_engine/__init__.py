"""Tests of `fasttrt._engine`."""
