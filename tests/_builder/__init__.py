"""Tests of `fasttrt._builder`."""
