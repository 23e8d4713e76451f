"""Plans: the plan file, the options of a build, the optimization profiles of dynamic shapes.

May use `_library`, `_graph` and what is below them.
"""
