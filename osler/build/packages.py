"""Versions of installed packages, by the names they are imported by: for fingerprints, and for the record."""

import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution, distributions, packages_distributions, version


@lru_cache(maxsize=256)
def _providers(package: str) -> list[str]:
    """Names of the distributions that list a module of that name among their files.

    `packages_distributions` would parse the metadata of every installed one, which takes half a second; it is asked for a
    package without a file of its own (a namespace).
    """
    listed = re.compile(rf"^{re.escape(package)}(/__init__\.py|\.py|\.[^/,]*\.so),", re.MULTILINE)
    found = [one.metadata["Name"] for one in distributions() if listed.search(one.read_text("RECORD") or "")]
    return sorted(set(found)) or packages_distributions().get(package, [])


def _distributions(package: str) -> list[str]:
    try:
        return [str(distribution(package).metadata["Name"])]  # most are named after what they provide
    except PackageNotFoundError:
        return _providers(package)


def package_versions(packages: set[str]) -> dict[str, str]:
    """Installed versions of the distributions that provide these import names.

    They are public versions, without `+cpu`.
    """
    names = {name for package in packages for name in _distributions(package)}
    return {name: version(name).split("+")[0] for name in sorted(names)}


def installed(name: str) -> str | None:
    """The version of a distribution without its local part (`+cu130`), or None."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None
