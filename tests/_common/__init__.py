"""Tests of `fasttrt._common`."""
