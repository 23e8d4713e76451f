"""``python -m fasttrt``."""

from fasttrt.cli import main

main()
