"""Tests of `fasttrt._cache`."""
