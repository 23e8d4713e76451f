"""Measuring: shared by ``fasttrt bench``, ``profile`` and ``tune`` and the scripts in bench/.

May use everything but `_cli`.
"""
