"""What ``fasttrt bench``, ``profile`` and ``tune`` and the scripts of bench/ share.

May use all but `_cli`.
"""
