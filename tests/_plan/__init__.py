"""Tests of `fasttrt._plan`."""
