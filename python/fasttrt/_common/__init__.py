"""Shared utilities: dtypes, option checks, files, progress, tables, the logger.

May use `fasttrt.errors` only.
"""
