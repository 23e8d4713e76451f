"""The command ``fasttrt``, and ``python -m fasttrt``."""

import sys

from fasttrt._common.optional_packages import require
from fasttrt.errors import MissingPackageError


def main() -> None:
    """Run the command line; without its packages, say so in a line, and exit with 1."""
    try:
        require("the command fasttrt", "typer")
    except MissingPackageError as error:
        sys.exit(f"error: {error}")
    from fasttrt._cli import main as run

    run()


if __name__ == "__main__":
    main()
