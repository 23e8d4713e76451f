"""Precision: models that compute in 16 bits, and the proof that an engine does."""

from fasttrt.precision.conversion import converted

__all__ = ["converted"]
