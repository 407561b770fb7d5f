"""What a stretch of code says, as pieces: words of its syntax tree, names it uses, imports and file names in it."""

import ast
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

MESSAGE = "BuildError"  # what it is raised with reaches a person, and no artifact
DESCRIBED = "Field"  # of pydantic: its description too
PRINTABLE = {"abs", "float", "format", "int", "len", "repr", "round", "str"}  # calls whose loss no other line notices
LOADERS = {"__import__", "import_module", "run_module", "run_path", "spec_from_file_location"}
NAMESPACES = {"eval", "exec", "globals", "locals", "vars"}
CHANGING = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "mkdir", "pop", "popitem", "register", "remove",
    "reverse", "setdefault", "sort", "touch", "unlink", "update", "write", "write_bytes", "write_text",
}  # fmt: skip


class Import(NamedTuple):
    """What an import statement binds a name to.

    The statement is `from path import attribute`, or `import path`. `level`: of a relative import, how many dots it
    begins with. `binds_first`: `import a.b` without `as`, which binds `a`.
    """

    level: int
    path: tuple[str, ...]
    attribute: str | None = None
    binds_first: bool = False


class Use(NamedTuple):
    """A name with the attributes that follow it: `numpy.random.Generator`."""

    name: str
    attributes: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        return (self.name, *self.attributes)[-1]


class Local(NamedTuple):
    """An import inside a definition, at its place.

    The name is empty where it binds none.
    """

    name: str
    origin: Import


class FileName(NamedTuple):
    """A string that may name a file beside the module."""

    text: str


class Anything(NamedTuple):
    """A use of names that are computed.

    They are names of this module (`globals()`), or of any (`import_module(name)`).
    """

    of_any_module: bool


Piece = str | Use | Local | FileName | Anything


def silent(statement: ast.stmt) -> bool:
    """Whether a statement does nothing that counts.

    That is a docstring, `pass`, or print() of what takes no computing. What iterates counts: it may leave less to those
    after it.
    """
    if not isinstance(statement, ast.Expr):
        return isinstance(statement, ast.Pass)
    call = statement.value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"):
        return isinstance(call, ast.Constant)
    if any(word.arg == "file" and use_of(word.value) != Use("sys", ("stderr",)) for word in call.keywords):
        return False
    computing = (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Starred, ast.comprehension)
    inside = [node for node in ast.walk(call) if node is not call]
    calls = [node.func for node in inside if isinstance(node, ast.Call)]
    return not any(isinstance(node, computing) for node in inside) and all(
        isinstance(called, ast.Name) and called.id in PRINTABLE for called in calls
    )


def use_of(node: ast.AST | None) -> Use | None:
    """The name that `node` is, with attributes; None where it is none."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return Use(node.id, tuple(reversed(attributes))) if isinstance(node, ast.Name) else None


def undescribed(node: ast.expr | None) -> ast.expr | None:
    """A call of `Field` without its description.

    It is None where nothing else is in the call. Any other expression stays as it is.
    """
    if not isinstance(node, ast.Call) or (use := use_of(node.func)) is None or use.last != DESCRIBED:
        return node
    kept = [word for word in node.keywords if word.arg != "description" or not isinstance(word.value, ast.Constant)]
    return ast.Call(node.func, node.args, kept) if node.args or kept else None


def imports_of(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    """Each name that is bound ("*" for all), and to what."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            path = tuple(statement.module.split(".")) if statement.module else ()
            yield alias.asname or alias.name, Import(statement.level, path, alias.name)
        else:
            path = tuple(alias.name.split("."))
            yield alias.asname or path[0], Import(0, path, binds_first=alias.asname is None)


def may_be_file(text: str) -> bool:
    """Whether a string looks like a file or a module.

    It looks like the name of a file beside its module, or like the path or dotted name of a module.
    """
    if not 2 < len(text) < 100 or "." not in text or text[0] == "/" or not text.isprintable():
        return False
    path = PurePath(text)
    return path.suffix not in ("", ".py") or (path.suffix == ".py" and len(path.parts) > 1)


class Reading:
    """The pieces of a definition, and what is found on the way.

    Attributes:
        bound: names that anything but an import binds inside.
        changes: running it may change what is not its own.
    """

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.bound: set[str] = set()
        self.changes = False
        self._in_annotation = 0
        self._special: dict[type[ast.AST], Callable[[Any], bool]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.AnnAssign: self._annotated,
            ast.Call: self._call,
            ast.Constant: self._constant,
            ast.JoinedStr: self._text,
            ast.Raise: self._raise,
            ast.Expr: self._expression,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.Global: self._global,
        }

    def read(self, value: Any) -> None:
        """Append a node, a list of nodes, or a plain value."""
        if isinstance(value, list):
            self.pieces.append("[")
            for item in value:
                if not (isinstance(item, ast.stmt) and silent(item)):
                    self.read(item)
            self.pieces.append("]")
        elif isinstance(value, ast.AST):
            special = self._special.get(type(value))
            if special is None or special(value):
                self._node(value)
        else:
            self.pieces.append(f"{value!r},")

    def _node(self, node: ast.AST) -> None:
        self.pieces.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in ("ctx", "kind", "type_comment"):
                continue  # which fields there are depends on the version, but new ones are empty
            self.pieces.append(f"{name}=")
            if isinstance(value, str) and name in ("name", "arg", "rest") and not isinstance(node, ast.keyword):
                self.bound.add(value)  # by def, class, except or case, or as an argument
            annotation = name in ("annotation", "returns")
            self._in_annotation += annotation
            self.read(value)
            self._in_annotation -= annotation
        self.pieces.append(")")

    # Each of these returns whether the node is still to be read as any other is.

    def _use(self, use: Use) -> None:
        self.pieces.append(use)
        if use.last in LOADERS or (use.name == "sys" and use.attributes[:1] == ("modules",)):
            self.pieces.append(Anything(of_any_module=True))
        elif use.name in NAMESPACES:
            self.pieces.append(Anything(of_any_module=False))

    def _name(self, node: ast.Name) -> bool:
        if not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)
        self._use(Use(node.id))
        return False

    def _attribute(self, node: ast.Attribute) -> bool:
        self.changes |= not isinstance(node.ctx, ast.Load)
        use = use_of(node)
        if use:
            self._use(use)
        return use is None

    def _subscript(self, node: ast.Subscript) -> bool:
        self.changes |= not isinstance(node.ctx, ast.Load)
        use = use_of(node.value)
        if use and use.last == "Literal":
            quoted, self._in_annotation = self._in_annotation, 0  # its strings are values, not names
            self._node(node)
            self._in_annotation = quoted
            return False
        return True

    def _annotated(self, node: ast.AnnAssign) -> bool:
        value = undescribed(node.value)
        if value is not node.value:
            self._node(ast.AnnAssign(node.target, node.annotation, value, node.simple))
        return value is node.value

    def _call(self, node: ast.Call) -> bool:
        self.changes |= isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING
        use = use_of(node.func)
        if use and use.last == "import_module" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            name = str(node.args[0].value)
            if not name.startswith("."):
                self.pieces += [use, Local("", Import(0, tuple(name.split("."))))]
                return False
        return True

    def _constant(self, node: ast.Constant) -> bool:
        value = node.value
        known = isinstance(value, str) and may_be_file(value)
        self.pieces.append(FileName(str(value)) if known else f"{type(value).__name__} {value!r},")
        if self._in_annotation and isinstance(value, str):
            try:
                quoted = ast.parse(value, mode="eval").body
            except (SyntaxError, ValueError):
                return False
            if not isinstance(quoted, ast.Constant):
                self.read(quoted)
        return False

    def _text(self, node: ast.JoinedStr) -> bool:
        """An f-string: versions differ in where they divide what stands between the fields."""
        self.pieces.append("f(")
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            self.pieces.append(f"{text!r},")
            text = ""
            self.read(part)
        self.pieces.append(f"{text!r})")
        return False

    def _raise(self, node: ast.Raise) -> bool:
        use = use_of(node.exc.func) if isinstance(node.exc, ast.Call) else None
        if use is None or use.last != MESSAGE:
            return True
        self.pieces += ["Raise(", use, ")"]
        return False

    def _expression(self, node: ast.Expr) -> bool:
        self.changes |= isinstance(node.value, ast.Call | ast.Await)
        return True

    def _import(self, node: ast.Import | ast.ImportFrom) -> bool:
        self.pieces += [Local(name, origin) for name, origin in imports_of(node)]
        return False

    def _global(self, _: ast.Global) -> bool:
        self.changes = True
        return True
