"""Engines on many machines, by Ray."""
