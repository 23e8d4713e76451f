"""Tests of `fasttrt._graph`."""
