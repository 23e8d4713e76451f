"""What ``fasttrt bench``, ``profile`` and ``tune`` and the scripts of bench/ share."""
