"""`from_torch`: an engine in the place of a PyTorch module.

May use `_engine` and what is below it.
"""
