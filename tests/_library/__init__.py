"""Tests of `fasttrt._library`."""
