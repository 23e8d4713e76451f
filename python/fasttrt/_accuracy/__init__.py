"""Accuracy: compare a runner with a reference, and find the node at which they diverge.

May use `_runtime` and what is below it, but not `Engine`.
"""
