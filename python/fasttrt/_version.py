"""The version of fasttrt; the one in pyproject.toml is read from here."""

__version__ = "0.1.0"
