"""What all of fasttrt uses: dtypes, checked options, files, progress, tables, the logger.

May use `fasttrt.errors` alone.
"""
