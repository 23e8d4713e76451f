"""Tests of `fasttrt._cli`."""
