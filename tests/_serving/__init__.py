"""Tests of `fasttrt._serving`."""
