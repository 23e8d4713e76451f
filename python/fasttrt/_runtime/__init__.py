"""Running plans and models: backends, arrays, workers, batching, refit.

May use `_cache` and what is below it.
"""
