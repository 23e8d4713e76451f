"""The engine cache behind `fasttrt.cache` and `Engine(cache=…)`."""
