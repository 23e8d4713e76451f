"""``python -m fasttrt``."""

from fasttrt._cli import main

main()
