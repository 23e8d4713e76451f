"""Tests of `fasttrt._runtime`."""
