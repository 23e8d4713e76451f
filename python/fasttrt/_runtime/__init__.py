"""What runs a plan or a model: backends, arrays, workers, batching, weights that are replaced.

May use `_cache` and what is below it.
"""
