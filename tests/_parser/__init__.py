"""Tests of `fasttrt._parser`."""
