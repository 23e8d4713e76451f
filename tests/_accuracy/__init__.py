"""Tests of `fasttrt._accuracy`."""
