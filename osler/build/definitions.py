"""What one Python file says: its definitions, what each uses, and what happens when the file is imported.

A definition is a function, a class, or what is assigned to names, at the top of the file. All else at the top is the file's
effects, which are one definition, as are names that are bound twice or under a condition, and a file that imports "*".

A definition is read off the syntax tree, so that layout, comments and docstrings do not count, in words of its own, since those
of `ast.dump` and `ast.unparse` differ between Python versions: 3.11, 3.12 and 3.13 read all of this repository alike. Messages do
not count either: what a BuildError says, what is printed without computing anything, and the description of a pydantic field.

Where it cannot tell, a definition is read as using or doing more than it may.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache

from osler.build.pieces import CHANGING, Import, Local, Piece, Reading, Use, imports_of, may_be_file, silent, use_of

MAIN = ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what is evaluated with it.

    Of a function these are its decorators and defaults, not its body.
    """
    yield node
    children: Sequence[ast.AST | None]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        children = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
    elif isinstance(node, ast.Lambda):
        children = [*node.args.defaults, *node.args.kw_defaults]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        if child is not None:
            yield from evaluated(child)


def unnamed(statement: ast.stmt) -> ast.stmt:
    """A definition without its own name.

    The name says nothing of what it is: those that use it name it. An exception keeps it, since `type(error).__name__`
    may stand in a ledger.
    """
    statement = copy(statement)
    match statement:
        case ast.ClassDef(bases=bases) if any(
            (use := use_of(base)) and use.last.endswith(("Error", "Exception")) for base in bases
        ):
            pass
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            statement.name = "_"
        case ast.Assign(targets=[ast.Name()]):
            statement.targets = [ast.Name("_", ast.Store())]
        case ast.AnnAssign(target=ast.Name()):
            statement.target = ast.Name("_", ast.Store())
    return statement


@dataclass(eq=False)
class Definition:
    """Statements of a module that belong together.

    They belong together as they bind the same names.

    Attributes:
        names: that they bind.
        statements: in order.
        bindings: of the module, by name.
        prefix: what the module asks of the language: `from __future__`.
    """

    names: tuple[str, ...]
    statements: list[ast.stmt]
    bindings: Mapping[str, list["Definition | Import"]]
    prefix: str

    @cached_property
    def _reading(self) -> Reading:
        reading = Reading()
        reading.pieces.append(self.prefix)
        for statement in self.statements:
            reading.read(unnamed(statement) if len(self.statements) == 1 == len(self.names) else statement)
        return reading

    @property
    def bound(self) -> set[str]:
        """Names that are bound inside.

        Inside they may mean something else than in the module.
        """
        return self._reading.bound

    @property
    def changes(self) -> bool:
        """Whether running it may change what is not its own.

        This is as far as can be told without what it calls.
        """
        return self._reading.changes

    @cached_property
    def imports(self) -> dict[str, list[Import]]:
        """What import statements inside bind."""
        found: dict[str, list[Import]] = {}
        for piece in self._reading.pieces:
            if isinstance(piece, Local) and piece.origin not in found.setdefault(piece.name, []):
                found[piece.name].append(piece.origin)
        return found

    @cached_property
    def pieces(self) -> list[Piece]:
        """Its text, and between it the names that mean something outside.

        An import inside counts where its name is used; at its place, too, where the name has other meanings or no use.
        """
        used = {piece.name for piece in self._reading.pieces if isinstance(piece, Use)}
        pieces: list[Piece] = []
        text: list[str] = []
        for piece in self._reading.pieces:
            if isinstance(piece, Use):
                if not (piece.name in self.bindings or piece.name in self.imports):
                    piece = f"{'.'.join((piece.name, *piece.attributes))},"
            elif isinstance(piece, Local):
                plain = len(self.imports[piece.name]) == 1 and piece.name not in self.bindings
                if plain and piece.name in used:
                    continue
            if isinstance(piece, str):
                text.append(piece)
            else:
                pieces += ["".join(text), piece]
                text = []
        return [*pieces, "".join(text)]

    @cached_property
    def calls(self) -> list[Use] | None:
        """What is called when the module is imported, decorators included.

        It is None where that may change anything.
        """
        found: list[Use] = []
        for node in (node for statement in self.statements for node in evaluated(statement)):
            if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
                return None
            if isinstance(node, ast.ClassDef) and (node.keywords or not all(map(_defines, node.body))):
                return None
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = [use for one in node.decorator_list if (use := use_of(one))]
                found += [
                    use for use in decorators if not (use.attributes and use.last in ("getter", "setter", "deleter"))
                ]
            elif isinstance(node, ast.Call):
                use = use_of(node.func)
                if use:
                    found.append(use)
                elif not isinstance(node.func, ast.Attribute) or node.func.attr in CHANGING:
                    return None
        return None if any(use.attributes and use.last in CHANGING for use in found) else found

    @cached_property
    def bases(self) -> list[Use]:
        """What its classes derive from."""
        bases = [base for one in self.statements if isinstance(one, ast.ClassDef) for base in one.bases]
        return [use for base in bases for node in ast.walk(base) if (use := use_of(node))]


@dataclass(eq=False)
class Module:
    """What a file says.

    Attributes:
        bindings: name -> what it may mean.
        definitions: the first are the effects.
        imports: all, also those inside definitions, but for those that only type checkers read.
        typed: those.
        unused: imports of names that nothing in it uses: they are there for what they do, or for others to import from here;
            `from path import *` is one.
        file_names: strings that may be names of files beside it.
    """

    bindings: dict[str, list[Definition | Import]]
    definitions: list[Definition]
    imports: set[Import]
    typed: set[Import]
    unused: list[tuple[str, Import]]
    file_names: set[str]


def _running(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that are neither silent nor for type checkers."""
    for statement in body:
        use = use_of(statement.test) if isinstance(statement, ast.If) else None
        if isinstance(statement, ast.If) and use and use.last == "TYPE_CHECKING":
            yield from _running(statement.orelse)
        elif not silent(statement):
            yield statement


def _names(statement: ast.stmt) -> tuple[str, ...]:
    """The names that an import, a definition or an assignment to names binds; none for anything else.

    That a module does something when it is run, and not imported, is a definition of `__main__`.
    """
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return tuple(name for name, origin in imports_of(statement) if not origin.binds_first)
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (statement.name,)
    if isinstance(statement, ast.If):
        is_main = ast.dump(statement.test) == MAIN and not statement.orelse
        return ("__main__",) if is_main else ()
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return ()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    parts = [part for one in targets for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
    names = tuple(part.id for part in parts if isinstance(part, ast.Name))
    return names if len(names) == len(parts) else ()


def _defines(statement: ast.stmt) -> bool:
    """Whether a statement in a class does no more than define."""
    return silent(statement) or bool(_names(statement))


@lru_cache(maxsize=1024)
def module(source: str) -> Module:
    """What the file with text `source` says."""
    whole = ast.parse(source).body
    body = list(_running(whole))
    used: set[str] = set()
    imports: set[Import] = set()
    file_names: set[str] = set()
    skipped = [node for statement in whole if isinstance(statement, ast.If) for node in ast.walk(statement)]
    typed = {
        origin for node in skipped if isinstance(node, ast.Import | ast.ImportFrom) for _, origin in imports_of(node)
    }
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(origin for _, origin in imports_of(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and may_be_file(node.value):
            file_names.add(node.value)
    prefix = " ".join(sorted(str(one.attribute) for one in imports if one.path == ("__future__",)))
    imports = {one for one in imports if one.path != ("__future__",)}
    bindings: dict[str, list[Definition | Import]] = {}
    unused: list[tuple[str, Import]] = []
    effects = Definition((), [], bindings, prefix)
    definitions = [effects]
    named = [(_names(statement), statement) for statement in body]
    times = Counter(name for names, _ in named for name in names)
    for names, statement in named:
        plain = not times["*"] and all(times[name] == 1 for name in names)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name, origin in imports_of(statement):
                if origin.path == ("__future__",):
                    continue
                bindings.setdefault(name, []).append(origin)
                if name not in used:
                    unused.append((name, origin))
            if not plain:
                effects.statements.append(statement)
        elif names and plain:
            definitions.append(Definition(names, [statement], bindings, prefix))
            for name in names:
                bindings.setdefault(name, []).append(definitions[-1])
        else:
            effects.statements.append(statement)
    for name, origins in effects.imports.items():
        known = bindings.setdefault(name, [])
        known += [origin for origin in origins if origin not in known]
    for name in effects.bound:
        bindings.setdefault(name, []).append(effects)
    return Module(bindings, definitions, imports, typed - imports, unused, file_names)
