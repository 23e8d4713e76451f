"""`build`: from a model to a plan, in this process or an isolated one.

May use `_precision` and what is below it.
"""
