"""What code a stage runs, as a text that changes only when what runs changes.

DVC does not follow imports, so a stage's code dependency is this text: a digest for each definition that the stage reaches, and
optionally a line for each third-party package with its version. A definition's digest is that of its running source
(osler/build/definitions.py) in which a name from the repository stands for the digest of what it names, wherever that lies: files
and modules may be moved and renamed, imports be written in any way, and an edit reaches the stages that run what was edited.
Definitions that use each other in a circle are digested together. A file beside a module whose name is a string in it counts
by its contents, and a string that is the path or dotted name of a module counts as that module.

Importing a module also runs what stands at its top, so the effects of all modules that a stage imports, directly or through
others, have lines too. A module that is used as a value (`getattr(module, name)`) counts as a whole. All stages take
1.7 s together.
"""

import builtins
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from osler.build.circles import circles
from osler.build.definitions import Definition, Module, module
from osler.build.packages import package_versions
from osler.build.pieces import Anything, FileName, Import, Local, Piece, Use
from osler.build.plumbing import EXEMPT

VALUES = (
    *("collections.", "dataclasses.", "functools.", "hashlib.", "itertools.", "pathlib.", "re.", "typing."),
    *("numba.njit", "numpy.array", "numpy.uint", "polars.List", "polars.Schema", "polars.Struct"),
    *("polars.String", "polars.Int", "polars.Float", "polars.UInt", "pydantic."),
)  # what is called from elsewhere when a module is imported, and does nothing but make a value
BUILT_IN = frozenset(dir(builtins))
ACTING = {"__import__", "delattr", "eval", "exec", "input", "next", "open", "print", "setattr"}  # those that do more


class Node(NamedTuple):
    """A definition of `file` (below the root), or that whole file."""

    file: str
    definition: Definition | None

    @property
    def is_run(self) -> bool:
        """Whether it is what a module does only when run."""
        return self.definition is not None and self.definition.names == ("__main__",)


class Meaning(NamedTuple):
    """What a name stands for: nodes, and text for what is elsewhere."""

    nodes: tuple[Node, ...]
    text: str


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class Repository:
    """The modules below a folder as they are now, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[tuple[str, ...], str | None] = {}
        self._tops: dict[str, bool] = {}
        self._modules: dict[str, Module] = {}
        self._parts: dict[Node, list[Meaning]] = {}
        self._digests: dict[Node, str] = {}

    def module(self, file: str) -> Module:
        """What a file says."""
        if file not in self._modules:
            self._modules[file] = module((self.root / file).read_text(encoding="utf-8"))
        return self._modules[file]

    def file(self, path: tuple[str, ...]) -> str | None:
        """The file of a module's dotted name; None where there is none."""
        if path not in self._files:
            name = "/".join(path)
            candidates = (f"{name}.py", f"{name}/__init__.py") if path else ()
            self._files[path] = next((one for one in candidates if (self.root / one).is_file()), None)
        return self._files[path]

    def _named(self, text: str) -> str | None:
        """The module of the repository whose path or dotted name a string is."""
        path = tuple(text.removesuffix(".py").split("/") if text.endswith(".py") else text.split("."))
        file = self.file(path) if len(path) > 1 and all(part.isidentifier() for part in path) else None
        return None if file in EXEMPT else file

    def _absolute(self, file: str, origin: Import) -> tuple[str, ...]:
        folder = file.split("/")[:-1]
        return (*folder[: len(folder) - origin.level + 1], *origin.path) if origin.level else origin.path

    def _is_own(self, path: tuple[str, ...]) -> bool:
        if path and path[0] not in self._tops:
            self._tops[path[0]] = self.file(path[:1]) is not None or (self.root / path[0]).is_dir()
        return bool(path) and self._tops[path[0]]

    # What names mean

    def _imported(
        self, file: str, origin: Import, attributes: tuple[str, ...] = (), seen: frozenset[object] = frozenset()
    ) -> Meaning:
        """What `attributes` of an import in `file` are."""
        path = self._absolute(file, origin)
        if origin.binds_first:
            path = path[:1]
        elif origin.attribute is not None and origin.attribute != "*":
            attributes = (origin.attribute, *attributes)
        if not self._is_own(path):
            return Meaning((), f"import {'.'.join((*path, *attributes))},")
        return self._attribute(path, attributes, seen)

    def _attribute(self, path: tuple[str, ...], attributes: tuple[str, ...], seen: frozenset[object]) -> Meaning:
        """What `attributes` of the module or package `path` are; what cannot be told is the whole of it."""
        file = self.file(path)
        if file in EXEMPT:
            return Meaning((), f"{'.'.join(attributes)},")
        if attributes and (path, attributes) not in seen:
            seen |= {(path, attributes)}
            name, rest = attributes[0], attributes[1:]
            if file and name in self.module(file).bindings:
                return self._bound(file, name, rest, seen)
            if self.file((*path, name)) or (self.root.joinpath(*path, name)).is_dir():
                return self._attribute((*path, name), rest, seen)
        return Meaning(tuple(self._wholes(path)), f"{'.'.join(attributes)},")

    def _bound(self, file: str, name: str, attributes: tuple[str, ...], seen: frozenset[object]) -> Meaning:
        meanings = [
            self._imported(file, binding, attributes, seen)
            if isinstance(binding, Import)
            else Meaning((Node(file, binding),), "".join(f".{one}" for one in attributes))
            for binding in self.module(file).bindings[name]
        ]
        return Meaning(
            tuple(node for one in meanings for node in one.nodes), "".join(sorted({one.text for one in meanings}))
        )

    def _wholes(self, path: tuple[str, ...]) -> Iterator[Node]:
        """A module; of a package all that is in it, since its modules are its attributes."""
        file = self.file(path)
        if file and not file.endswith("/__init__.py"):
            yield Node(file, None)
            return
        for below in sorted(self.root.joinpath(*path).rglob("*.py")):
            name = below.relative_to(self.root).as_posix()
            if name not in EXEMPT:
                yield Node(name, None)

    def _used(self, node: Node, use: Use) -> Meaning:
        """What a name in a definition means."""
        file, definition = node
        assert definition is not None
        bindings = self.module(file).bindings
        meanings = [self._imported(file, origin, use.attributes) for origin in definition.imports.get(use.name, ())]
        if use.name in bindings:
            meanings.append(self._bound(file, use.name, use.attributes, frozenset()))
        nodes = tuple(node for one in meanings for node in one.nodes)
        texts = [one.text for one in meanings]
        if not meanings or use.name in definition.bound:
            texts.append(f"{'.'.join((use.name, *use.attributes))},")
        return Meaning(nodes, "".join(texts))

    def _piece(self, node: Node, piece: Piece) -> Meaning:
        file = node.file
        match piece:
            case str():
                return Meaning((), piece)
            case Use():
                return self._used(node, piece)
            case Local():
                return self._imported(file, piece.origin._replace(binds_first=False))
            case FileName():
                resource = (self.root / file).parent / piece.text
                if resource.is_file():
                    return Meaning((), f"file {hashlib.sha256(resource.read_bytes()).hexdigest()},")
                named = self._named(piece.text)
                return Meaning((Node(named, None),), "module,") if named else Meaning((), f"str {piece.text!r},")
            case Anything():
                top = (file.split("/")[0],) if piece.of_any_module and "/" in file else ()
                return Meaning((Node(file, None), *(self._wholes(top) if top else ())), "")

    def unused(self, file: str) -> list[tuple[str, Meaning]]:
        """Unused imports of a module, for effects or for others to import."""
        return [
            (name if origin.attribute else "", self._imported(file, origin._replace(binds_first=False)))
            for name, origin in self.module(file).unused
        ]

    def _imported_for_effect(self, file: str) -> list[str]:
        """Packages that a module imports and does not use."""
        names = {one.text.removeprefix("import ") for _, one in self.unused(file) if one.text.startswith("import ")}
        return sorted(name for name in names if name.strip(",").split(".")[0] not in sys.stdlib_module_names)

    def parts(self, node: Node) -> list[Meaning]:
        """What a node consists of; a whole file in no order."""
        if node not in self._parts:
            file, definition = node
            if definition is None:
                own = [
                    Meaning((one,), " ".join(one.definition.names)) for one in self.definitions(file) if one.definition
                ]
                others = [Meaning(one.nodes, f"{name}={one.text}") for name, one in self.unused(file)]
                self._parts[node] = own + others
            else:
                self._parts[node] = [self._piece(node, piece) for piece in definition.pieces]
                if definition is self.module(file).definitions[0]:
                    self._parts[node] += [Meaning((), text) for text in self._imported_for_effect(file)]
        return self._parts[node]

    def definitions(self, file: str) -> list[Node]:
        """All of a module, its effects among them if it has any."""
        effects, *others = (Node(file, one) for one in self.module(file).definitions)
        return [effects, *others] if any(part.text or part.nodes for part in self.parts(effects)) else others

    def uses(self, node: Node) -> list[Node]:
        """The nodes that a node uses itself."""
        return list(dict.fromkeys(used for part in self.parts(node) for used in part.nodes))

    def reached(self, roots: Iterable[Node]) -> set[Node]:
        """`roots`, what they use, and so on."""
        found: set[Node] = set()
        queue = list(roots)
        while queue:
            node = queue.pop()
            if node not in found:
                found.add(node)
                queue += self.uses(node)
        return found

    # What importing does

    def _calls_from_elsewhere(self, node: Node) -> bool:
        """Whether importing its module calls what is not known to do nothing but make a value."""
        assert node.definition is not None
        for use in node.definition.calls or ():
            found = self._used(node, use)
            if found.text.startswith("import "):
                known = found.text.removeprefix("import ").startswith(VALUES)
            else:
                known = bool(found.nodes or use.attributes or (use.name in BUILT_IN and use.name not in ACTING))
            if not known:
                return True
        return node.definition.calls is None

    def _makes_a_value(self, node: Node) -> bool:
        """Whether calling it does nothing else, as far as can be told."""
        return all(
            one.definition is not None
            and one.definition is not self.module(one.file).definitions[0]
            and not one.definition.changes
            and not self._calls_from_elsewhere(one)
            for one in self.reached([node])
        )

    def acts(self, node: Node) -> bool:
        """Whether importing its module may do more than bind its names."""
        definition = node.definition
        assert definition is not None
        if node.is_run:
            return False
        uses = [*(definition.calls or ()), *definition.bases]
        return self._calls_from_elsewhere(node) or not all(
            self._makes_a_value(called) for use in uses for called in self._used(node, use).nodes
        )

    def imported(self, file: str) -> tuple[set[str], set[str]]:
        """The files and resources that importing `file` reads, and packages from elsewhere.

        A package counts also where only type checkers import it: a module may name one so that it loads by other means.
        """
        files: set[str] = set()
        packages: set[str] = set()
        queue: list[str | None] = [file, *self._packages(tuple(file.split("/")[:-1]))]
        while queue:
            found = queue.pop()
            if found is None or found in files or found in EXEMPT:
                continue
            files.add(found)
            said = self.module(found)
            for origin in said.imports:
                path = self._absolute(found, origin)
                if self._is_own(path):
                    name = () if origin.attribute is None else (origin.attribute,)
                    queue += [*self._packages(path), self.file((*path, *name))]
                elif path:
                    packages.add(path[0])
            packages |= {
                path[0] for origin in said.typed if (path := self._absolute(found, origin)) and not self._is_own(path)
            }
            folder = (self.root / found).parent
            resources = {folder / name for name in said.file_names if (folder / name).is_file()}
            files |= {resource.relative_to(self.root).as_posix() for resource in resources}
        return files, packages - sys.stdlib_module_names

    def _packages(self, path: tuple[str, ...]) -> list[str | None]:
        """The files of `a`, `a.b` and `a.b.c`."""
        return [self.file(path[:end]) for end in range(1, len(path) + 1)]

    def _acting(self, file: str) -> Iterator[Node]:
        """What importing a module does."""
        effects = self.module(file).definitions[0]
        yield from (node for node in self.definitions(file) if node.definition is effects or self.acts(node))
        yield from (node for _, one in self.unused(file) for node in one.nodes)

    def running(self, file: str) -> set[Node]:
        """What running a module does, its imports' effects, and what these use.

        This is all that counts for a stage. What a stage's own module defines counts as what lies elsewhere does, so that
        definitions can leave it. A module that nobody runs, without `if __name__ == "__main__"`, counts as a whole.
        """
        found: set[Node] = set()
        roots = [node for node in self.definitions(file) if node.is_run] or [Node(file, None)]
        files: set[str] = set()
        while roots:
            found |= self.reached(roots)
            new = {name for one in {node.file for node in found} - files for name in self.imported(one)[0]} - files
            roots = [node for name in new if name.endswith(".py") for node in self._acting(name) if node not in found]
            files |= new | {node.file for node in found}
        return found

    # Digests

    def _rendered(self, node: Node, labels: Mapping[Node, str]) -> str:
        """The text of a node, with labels, or else digests, for what it uses."""
        parts = [
            "".join(sorted({f"<{labels[used] if used in labels else self._digests[used]}>" for used in part.nodes}))
            + part.text
            for part in self.parts(node)
        ]
        return "".join(parts if node.definition else sorted(parts))

    def _digest_circle(self, circle: list[Node]) -> None:
        """Digest nodes that use each other, or one that uses itself: as what they are, and as part of the whole circle."""
        labels = dict.fromkeys(circle, "")
        for _ in circle:  # by what is in them, then by what is in those that they use, and so on around the circle
            labels = {node: _digest(self._rendered(node, labels)) for node in circle}
        whole = " ".join(sorted(labels.values())) if len(circle) > 1 else ""
        self._digests |= {node: _digest(f"{label} {whole}") for node, label in labels.items()}

    def digests(self, nodes: Iterable[Node]) -> dict[Node, str]:
        """The digest of each node, with no names of files or modules."""
        nodes = list(nodes)
        for circle in circles(nodes, self.uses, self._digests):
            self._digest_circle(circle)
        return {node: self._digests[node] for node in nodes}


def closure(module: Path, root: Path) -> tuple[set[str], set[str]]:
    """The repository's files that importing `module` reads, and third-party packages they import.

    Plumbing (EXEMPT) is left out, with what it imports.

    Args:
        module: a Python file below `root`.
        root: the folder that repository imports (`osler.ingest.normalization`) start from.
    Returns:
        File names relative to `root`, also of resources: files that stand beside a module and whose name is a string in it;
        top-level names of imported packages outside the repository and the standard library.
    """
    return Repository(root).imported(module.relative_to(root).as_posix())


def fingerprint(module: Path, root: Path, with_packages: bool, repository: Repository | None = None) -> str:
    """The sorted digests of what `module` reaches, and, if asked, package versions.

    Args:
        repository: of `root`, for several fingerprints, which then read each module once.
    """
    repository = repository or Repository(root)
    file = module.relative_to(root).as_posix()
    lines = sorted(set(repository.digests(repository.running(file)).values()))
    if with_packages:
        lines += [f"{name} {number}" for name, number in package_versions(repository.imported(file)[1]).items()]
    return "\n".join(lines) + "\n"


def edited(module: Path, root: Path, then: str) -> list[str]:
    """Where code changed since the fingerprint `then`.

    It is given as `file name`, for each new definition that uses no other new one.
    """
    repository = Repository(root)
    digests = repository.digests(repository.running(module.relative_to(root).as_posix()))
    known = set(then.splitlines())
    new = {node for node, digest in digests.items() if digest not in known}
    first = [
        node
        for circle in circles(new, repository.uses, ())
        if not any(used in new for node in circle for used in repository.uses(node) if used not in circle)
        for node in circle
        if node in new
    ]
    return sorted({" ".join((node.file, *(node.definition.names if node.definition else ()))) for node in first})
