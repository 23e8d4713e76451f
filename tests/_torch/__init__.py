"""Tests of `fasttrt._torch`."""
