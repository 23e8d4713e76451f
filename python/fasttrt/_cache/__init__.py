"""The engine cache behind `fasttrt.cache` and `Engine(cache=…)`.

May use `_builder` and what is below it.
"""
