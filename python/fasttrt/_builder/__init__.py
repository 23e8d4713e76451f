"""`build`: from a model to a plan, in this process or in one that may die.

May use `_precision` and what is below it.
"""
