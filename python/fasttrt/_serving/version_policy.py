"""`VersionPolicy`: which of a model's versions are served."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fasttrt.errors import InputError


@dataclass(frozen=True)
class VersionPolicy:
    """Which of a model's versions are served: by default, the latest."""

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    """How many of the latest."""
    versions: tuple[str, ...] = ()
    """The specific ones."""

    @classmethod
    def from_message(cls, message: Any) -> "VersionPolicy":
        """Convert a protobuf message.

        Raises:
            InputError: it says several things, or a version is not a positive number.
        """
        kinds = [kind for kind in ("latest", "all", "specific") if message.HasField(kind)]
        if len(kinds) > 1:
            raise InputError(
                f"version_policy: expected one of latest, all and specific, got {kinds}"
            )
        if "all" in kinds:
            return cls("all")
        if "specific" in kinds:
            versions = message.specific.versions
            if not versions or min(versions) < 1:
                raise InputError(
                    f"version_policy.specific.versions: expected versions >= 1, "
                    f"got {list(versions)}"
                )
            return cls("specific", versions=tuple(map(str, versions)))
        return cls(count=message.latest.num_versions or 1)

    def choose(self, available: Iterable[str]) -> tuple[str, ...]:
        """Return the versions to serve, ascending.

        Raises:
            InputError: a specific version is missing.
        """
        ascending = sorted(set(available), key=int)
        if self.kind == "all":
            return tuple(ascending)
        if self.kind == "latest":
            return tuple(ascending[-self.count :])
        if missing := [version for version in self.versions if version not in ascending]:
            raise InputError(
                f"version_policy.specific.versions: expected some of {', '.join(ascending)}, "
                f"got {', '.join(missing)}"
            )
        return tuple(sorted(set(self.versions), key=int))

    def to_json(self) -> dict[str, Any]:
        """Return it as a part of a configuration's JSON."""
        if self.kind == "latest":
            return {"latest": {"num_versions": self.count}}
        if self.kind == "specific":
            return {"specific": {"versions": [int(version) for version in self.versions]}}
        return {"all": {}}
