"""Plans: their file, the options of a build, the profiles of dynamic shapes.

May use `_library`, `_graph` and what is below them.
"""
