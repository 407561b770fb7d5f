"""What code a module runs, as a text that changes only when what runs changes.

DVC does not follow imports, so a stage's code dependency is this text: one line for the module, each repository module it
imports (directly or through others) and each resource file it names, and optionally each third-party package with its
version. Comments, docstrings and blank lines do not count. Hashing source lines rather than a syntax tree keeps the text
the same on every Python version; the price is that reformatting counts as an edit.
"""

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path


def running_source(source: str, tree: ast.Module | None = None) -> str:
    """`source`, whose syntax tree may be given, without comments, docstrings, blank lines and trailing spaces."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree or ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                assert first.end_lineno is not None
                for row in range(first.lineno - 1, first.end_lineno):
                    lines[row] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


@dataclass(frozen=True)
class _Module:
    """What one source text says: the hash of what runs, the imports as (level, dotted name), and its short strings."""

    digest: str
    imports: frozenset[tuple[int, tuple[str, ...]]]
    strings: frozenset[str]


@lru_cache(maxsize=1024)
def _module(source: str) -> _Module:
    imports: set[tuple[int, tuple[str, ...]]] = set()
    strings: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update((0, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = tuple(node.module.split(".") if node.module else ())
            # `from a import b` may mean a module a.b; a name that is none is found to be no file
            imports.update({(node.level, origin), *((node.level, (*origin, alias.name)) for alias in node.names)})
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100:
            strings.add(node.value)
    digest = hashlib.sha256(running_source(source, tree).encode()).hexdigest()
    return _Module(digest, frozenset(imports), frozenset(strings))


def _module_file(name: tuple[str, ...], root: Path) -> Path | None:
    path = root.joinpath(*name)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if name and candidate.is_file():
            return candidate
    return None


def closure(module: Path, root: Path) -> tuple[dict[str, str], set[str]]:
    """The files that importing `module` reads from the repository, and the third-party packages they import.

    Args:
        module: a Python file below `root`.
        root: the folder that repository imports (`stages.lib.text`) start from.
    Returns:
        Relative file name -> sha256 of its running source (of its bytes, for a resource file: one that stands beside a
        module and whose name is a string in it); top-level names of imported packages outside the repository and the
        standard library.
    """
    files: dict[str, str] = {}
    packages: set[str] = set()
    queue = [module]
    while queue:
        path = queue.pop()
        relative = path.relative_to(root).as_posix()
        if relative in files:
            continue
        read = _module(path.read_text(encoding="utf-8"))
        files[relative] = read.digest
        folder = path.parent.relative_to(root).parts
        for level, name in read.imports:
            absolute = (*folder[: len(folder) - level + 1], *name) if level else name
            found = [file for end in range(1, len(absolute) + 1) if (file := _module_file(absolute[:end], root))]
            queue.extend(found)
            if not found and not level and not (root / name[0]).is_dir() and name[0] not in sys.stdlib_module_names:
                packages.add(name[0])
        for string in read.strings:
            resource = path.parent / string
            if (
                "." in string
                and string[:1] != "/"
                and "\n" not in string
                and resource.suffix not in ("", ".py")
                and resource.is_file()
            ):
                files[resource.relative_to(root).as_posix()] = hashlib.sha256(resource.read_bytes()).hexdigest()
    return files, packages


@lru_cache(maxsize=1)
def _providers() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads the metadata of every installed package: half a second


def _distributions(package: str) -> list[str]:
    try:
        return [str(distribution(package).metadata["Name"])]  # most are named after what they provide
    except PackageNotFoundError:
        return list(_providers().get(package, []))


def package_versions(packages: set[str]) -> dict[str, str]:
    """Installed public versions (no `+cpu`) of the distributions that provide these import names."""
    names = {name for package in packages for name in _distributions(package)}
    return {name: version(name).split("+")[0] for name in sorted(names)}


def fingerprint(module: Path, root: Path, with_packages: bool) -> str:
    """The text for `module`: sorted lines `file hash`, then, if asked, `package version`."""
    files, packages = closure(module, root)
    lines = [f"{name} {digest}" for name, digest in sorted(files.items())]
    if with_packages:
        lines += [f"{name} {number}" for name, number in package_versions(packages).items()]
    return "\n".join(lines) + "\n"
