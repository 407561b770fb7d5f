"""What counts as a change of code."""

import re
import shutil
from pathlib import Path

import pytest

from osler.build import packages
from osler.build.circles import circles
from osler.build.fingerprint import closure, edited, fingerprint
from osler.build.plumbing import EXEMPT

MAIN = "s/main.py"


def made(root: Path, **files: str) -> Path:
    """Files of these texts below `root`: `__` in a name is a slash."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def printed(root: Path, **files: str) -> str:
    """The fingerprint of s/main.py in a new tree of these files."""
    shutil.rmtree(root / "tree", ignore_errors=True)
    made(root / "tree", **files)
    return fingerprint(root / "tree" / MAIN, root / "tree", with_packages=False)


FUNCTION = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "same",
    [
        "def f(x):\n    return x + 1  # more\n",
        'def f(x):\n    """Add one."""\n    return x + 1\n',
        '"""Module."""\n\n\ndef f(x):\n\n    # why\n    return (\n        x\n        + 1\n    )\n',
        "def f(x):\n    print('adding', x, len(x))\n    return x + 1\nprint('read')\n",
    ],
)
def test_comments_docstrings_layout_and_what_is_printed_do_not_count(tmp_path: Path, same: str) -> None:
    """Each rendering of the function runs the same."""
    assert printed(tmp_path, s__main=same) == printed(tmp_path, s__main=FUNCTION)


def test_a_definition_may_leave_the_module_that_is_run(tmp_path: Path) -> None:
    """A stage's helper is the same wherever it lies; one that nothing calls does not count, and what importing does, does."""
    run = "if __name__ == '__main__':\n    main()\n"
    here = printed(tmp_path, s__main=f"def f(x):\n    return x + 1\n\ndef main():\n    return f(1)\n\n{run}")
    moved = f"from s.other import f\n\ndef main():\n    return f(1)\n\n{run}"
    assert printed(tmp_path, s__main=moved, s__other=FUNCTION) == here
    assert printed(tmp_path, s__main=f"def g():\n    return 2\n\n{moved}", s__other=FUNCTION) == here
    assert printed(tmp_path, s__main=moved, s__other=FUNCTION.replace("1", "2")) != here
    assert printed(tmp_path, s__main=f"import random\nrandom.seed(1)\n{moved}", s__other=FUNCTION) != here


def test_the_description_of_a_field_does_not_count(tmp_path: Path) -> None:
    """Documentation of params reruns nothing; a bound or a default of the same field does, and a description that is computed."""
    model = "from pydantic import BaseModel, Field\nclass M(BaseModel):\n    x: int{}\n    y: int = Field(ge=0)\n"
    bare = printed(tmp_path, s__main=model.format(""))
    assert printed(tmp_path, s__main=model.format(' = Field(description="how many")')) == bare
    assert printed(tmp_path, s__main=model.format(' = Field(ge=1, description="how many")')) != bare
    assert printed(tmp_path, s__main=model.format(' = Field(default=1, description="x")')) == printed(
        tmp_path, s__main=model.format(' = Field(default=1, description="y")')
    )
    assert printed(tmp_path, s__main=model.format(" = Field(description=f())")) != bare


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def g(x):\n    return x\n", "def h(x):\n    return x\n"),
        ("class g:\n    y = 1\n", "class h:\n    y = 1\n"),
        ("g = 1\n", "h = 1\n"),
        ("g: int = 1\n", "h: int = 1\n"),
        ("def g(x):\n    return k(x)\ndef k(x):\n    return x and g(x - 1)\n",
         "def h(x):\n    return l(x)\ndef l(x):\n    return x and h(x - 1)\n"),
    ],
)  # fmt: skip
def test_a_new_name_for_a_definition_does_not_count(tmp_path: Path, before: str, after: str) -> None:
    """For a function, a class, a constant and a circle; in a module that is looked up in by name it does."""
    run = "def main():\n    return {}\nif __name__ == '__main__':\n    main()\n"
    assert printed(tmp_path, s__main=before + run.format("g")) == printed(tmp_path, s__main=after + run.format("h"))
    computed = "from s import other\n" + run.format("getattr(other, 'g')")
    assert printed(tmp_path, s__main=computed, s__other=before) != printed(tmp_path, s__main=computed, s__other=after)


def test_the_name_of_an_exception_counts(tmp_path: Path) -> None:
    """A ledger may tell it."""
    text = "class {0}(ValueError):\n    y = 1\ndef main():\n    raise {0}\nif __name__ == '__main__':\n    main()\n"
    assert printed(tmp_path, s__main=text.format("Torn")) != printed(tmp_path, s__main=text.format("Broken"))


def test_members_of_a_circle_are_told_apart(tmp_path: Path) -> None:
    """By what is in them, since names do not count: which one is called first matters."""
    circle = "def a(x):\n    return b(x)\ndef b(x):\n    return c(x)\ndef c(x):\n    return x and a(x - 1)\n"
    run = "def main():\n    return {}(1)\nif __name__ == '__main__':\n    main()\n"
    assert len({printed(tmp_path, s__main=circle + run.format(name)) for name in "abc"}) == 3


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x - 1\n",
        "def f(x):\n    return x + 1.0\n",
        "def f(x):\n    return x + '1'\n",
        "def f(x):\n    return x + True\n",
        "def f(x):\n    return '# not a comment'\n",
        "def f(x, y=1):\n    return x + 1\n",
        "def f(x: int):\n    return x + 1\n",
        "def f(x) -> 'int':\n    return x + 1\n",
        "async def f(x):\n    return x + 1\n",
        "@staticmethod\ndef f(x):\n    return x + 1\n",
        "def f(x):\n    print(next(x))\n    return x + 1\n",
        "def f(x):\n    print(*x)\n    return x + 1\n",
        "def f(x):\n    print(x, file=x)\n    return x + 1\n",
        "from __future__ import annotations\ndef f(x):\n    return x + 1\n",
    ],
)
def test_what_runs_counts(tmp_path: Path, other: str) -> None:
    """A number, its type, an operator, a default, an annotation, a decorator, or printing that uses something up."""
    assert printed(tmp_path, s__main=other) != printed(tmp_path, s__main=FUNCTION)


def test_the_message_of_a_build_error_does_not_count_and_that_of_another_does(tmp_path: Path) -> None:
    """When it is raised counts, and so does what it is."""

    def raising(error: str, message: str, limit: int = 1) -> str:
        return printed(
            tmp_path, s__main=f"def f(x):\n    if x > {limit}:\n        raise {error}(f'{{x}}: {message}') from None\n"
        )

    before = raising("BuildError", "too much")
    assert raising("BuildError", "more than enough") == before
    assert raising("BuildError", "too much", 2) != before
    assert raising("ValueError", "too much") not in (before, raising("ValueError", "more than enough"))
    main = "from s.{} import BuildError\ndef f():\n    raise BuildError(1)\n"
    classes = {"s__a": "class BuildError(Exception): pass\n", "s__b": "class BuildError(BaseException): pass\n"}
    assert len({printed(tmp_path, s__main=main.format(name), **classes) for name in "ab"}) == 2


def test_every_spelling_of_an_import_is_the_same(tmp_path: Path) -> None:
    """from a import b, import a.b, with `as`, relative, inside the function, and in any order."""
    library = {"s__init": "", "s__lib__init": "", "s__lib__text": "def f(x):\n    return x\n", "s__lib__b": "Y = 1\n"}
    spellings = [
        "from s.lib.text import f\nfrom s.lib.b import Y\nimport numpy as np\ndef main():\n    return f(Y, f=np.random.pi)\n",
        "import numpy\nfrom s.lib.b import Y\nfrom s.lib.text import f\ndef main():\n    return f(Y, f=numpy.random.pi)\n",
        "from numpy import random\nfrom s.lib import b, text\ndef main():\n    return text.f(b.Y, f=random.pi)\n",
        "from numpy.random import pi as p\nimport s.lib.b\nimport s.lib.text as t\ndef main():\n    return t.f(s.lib.b.Y, f=p)\n",
        "from .lib.text import f as g\nfrom .lib import b\nimport numpy.random\n"
        "def main():\n    return g(b.Y, f=numpy.random.pi)\n",
        "def main():\n    from numpy import random\n    from s.lib.text import f\n    from .lib import b\n"
        "    return f(b.Y, f=random.pi)",
    ]
    assert len({printed(tmp_path, s__main=text, **library) for text in spellings}) == 1


def test_a_module_that_moves_with_its_imports_changes_nothing(tmp_path: Path) -> None:
    """Into another package, under another name; also a function alone, and what it uses stays behind."""
    constant, function = (
        "LIMIT = 3\n",
        "def f(x):\n    return g(x) < LIMIT\ndef g(x):\n    return f(x - 1) if x else 0\n",
    )
    before = printed(tmp_path, s__lib__text=constant + function, s__main="from s.lib.text import f\ndef main(): f(1)\n")
    assert before == printed(
        tmp_path,
        o__rooms__corpus=constant + function,
        s__main="from o.rooms.corpus import f\ndef main(): f(1)\n",
    )
    assert before == printed(
        tmp_path,
        o__rooms__text="from s.lib.limits import LIMIT\n" + function,
        s__lib__limits=constant,
        s__main="def main():\n    from o.rooms import text\n    text.f(1)\n",
    )
    assert not re.search(r"[^0-9a-f\n]", before)
    whole = "from {} import {}\ndef main(name): return getattr({}, name)\n"
    assert printed(tmp_path, s__lib__text=function, s__main=whole.format("s.lib", "text", "text")) == printed(
        tmp_path, o__corpus=function, s__main=whole.format("o", "corpus as text", "text")
    )


@pytest.mark.parametrize(
    "importing",
    [
        "from s.lib.{} import f\ndef main(): return f(1)\n",
        "from s.lib import {} as m\ndef main(): return m.f(1)\n",
        "import s.lib.{}\ndef main(): return s.lib.{}.f(1)\n",
        "def main():\n    from .lib.{} import f\n    return f(1)\n",
        "try:\n    from s.lib.{} import f\nexcept ImportError:\n    from s.lib.c import f\ndef main(): return f(1)\n",
        "from s.lib.{} import *\ndef main(): return f(1)\n",
        "from s.lib import {}\ndef main(): return getattr({}, 'f')(1)\n",
        "class Main:\n    def one(self):\n        from s.lib.{} import f\n        return f(1)\n"
        "    def two(self):\n        from s.lib.c import f\n        return f(1)\n",
        "from importlib import import_module\ndef main(): return import_module('s.lib.{}').f(1)\n",
    ],
)
def test_where_a_name_comes_from_counts(tmp_path: Path, importing: str) -> None:
    """Modules define a function, a constant or a class of one name, and the import turns from one to the other; both are used
    before and after."""
    both = "from s.lib.a import f as fa\nfrom s.lib.b import f as fb\ndef others(): return fa, fb\n"
    for kind in ("def f(x):\n    return {}\n", "f = {}\n", "class f:\n    x = {}\n"):
        files = {f"s__lib__{name}": kind.format(number) for number, name in enumerate("abc")}
        before, after = (printed(tmp_path, **files, s__main=importing.replace("{}", name) + both) for name in "ab")
        assert before != after


def test_imports_of_one_name_in_two_places_are_not_interchangeable(tmp_path: Path) -> None:
    """Two methods import another `f` each: exchanging them counts."""
    method = "    def {}(self):\n        from s.{} import f\n        return f(1)\n"
    files = {"s__a": "def f(x):\n    return 1\n", "s__b": "def f(x):\n    return 2\n"}
    one = "class C:\n" + method.format("m", "a") + method.format("n", "b")
    other = "class C:\n" + method.format("m", "b") + method.format("n", "a")
    assert printed(tmp_path, **files, s__main=one) != printed(tmp_path, **files, s__main=other)


LIBRARY = """
LIMIT = 3
OTHER = 4
class Base:
    size: int = 1
class Unused:
    size: int = 2
class Derived(Base):
    pass
def decorator(function):
    return function
@decorator
def f(x: Literal["unused"], y=LIMIT):
    def inner(z):
        return z * Derived.size
    return inner(x)
def unused(x):
    return x * OTHER
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("LIMIT = 3", "LIMIT = 5", True),
        ("size: int = 1", "size: int = 5", True),
        ("size: int = 1", "size: float = 1", True),
        ("return function", "return lambda x: 0", True),
        ("@decorator\n", "", True),
        ("Derived(Base)", "Derived(Unused)", True),
        ("y=LIMIT", "y=OTHER", True),
        ("z * Derived", "z + Derived", True),
        ("OTHER = 4", "OTHER = 5", False),
        ("size: int = 2", "size: int = 5", False),
        ("x * OTHER", "x + OTHER", False),
        ("def unused", "def renamed", False),
        ("def unused", "NEW = 1\ndef unused", False),
    ],
)
def test_only_what_is_reached_counts(tmp_path: Path, old: str, new: str, counts: bool) -> None:
    """Of a module: what an imported function uses, through bases, decorators, defaults and constants; and nothing else."""
    main = "from s.lib import f\ndef main(): return f(1)\n"
    assert old in LIBRARY
    edited_library = LIBRARY.replace(old, new)
    assert (
        printed(tmp_path, s__main=main, s__lib=LIBRARY) != printed(tmp_path, s__main=main, s__lib=edited_library)
    ) is counts


@pytest.mark.parametrize(
    ("library", "old", "new"),
    [
        ("import os\nos.environ['A'] = '1'\ndef f(): pass\n", "'1'", "'2'"),
        ("TABLE = {}\ndef add(x):\n    TABLE[x] = 1\ndef f(): pass\nadd(1)\n", "add(1)", "add(2)"),
        ("TABLE = {}\ndef add(x):\n    TABLE[x] = 1\ndef f(): pass\nA = add(1)\n", "add(1)", "add(2)"),
        (
            "TABLE = []\ndef add(x):\n    return TABLE.append(x)\ndef f(): pass\n@add\ndef g(): return 1\n",
            "return 1",
            "return 2",
        ),
        ("TABLE = []\ndef f(): pass\n@TABLE.append\ndef g(): return 1\n", "return 1", "return 2"),
        ("from click import group\ndef f(): pass\n@group\ndef g(): return 1\n", "return 1", "return 2"),
        (
            "class B:\n    def __init_subclass__(c):\n        B.x = c\ndef f(): pass\nclass C(B):\n    y = 1\n",
            "y = 1",
            "y = 2",
        ),
        ("def f(): pass\nclass C(metaclass=M):\n    y = 1\n", "y = 1", "y = 2"),
        ("def f(): pass\nX = 1\nif X:\n    Y = 2\n", "Y = 2", "Y = 3"),
        ("if X:\n    def f(): return 1\nelse:\n    def f(): return 2\n", "return 2", "return 3"),
        ("X = 1\ndef f(): return X\nX += 2\n", "X += 2", "X += 3"),
        ("def f(): return 1\nf = lambda: 2\n", "lambda: 2", "lambda: 3"),
        ("import random\ndef f(): pass\nSTATE = random.seed(1)\n", "seed(1)", "seed(2)"),
        ("import s.other\ndef f(): pass\ns.other.LIMIT = 1\n", "= 1", "= 2"),
        ("import patches.one\ndef f(): pass\n", "patches.one", "patches.two"),
        ("def f(): return globals()['g']()\ndef g(): return 1\n", "return 1", "return 2"),
        ("def f(): return eval('g()')\ndef g(): return 1\n", "return 1", "return 2"),
        ("import sys\ndef f(): return sys.modules[__name__].g()\ndef g(): return 1\n", "return 1", "return 2"),
        ("X = 0\ndef set_x():\n    global X\n    X = 1\ndef f():\n    set_x()\n    return X\n", "X = 1", "X = 2"),
        ("class A:\n    x: int = 1\ndef f(a: 'A | None'): pass\n", "x: int = 1", "x: int = 2"),
        ("def f():\n    def a(g): return g\n    return a(lambda: g())\ndef g(): return 1\n", "return 1", "return 2"),
        ("def f(): return 1\ndef f(): return 2\n", "return 1\ndef f(): return 2", "return 2\ndef f(): return 1"),
        ("from s.other import *\nfrom s.more import *\n", "other import *\nfrom s.more", "more import *\nfrom s.other"),
        (
            "def f(): pass\nfrom s.other import *\n",
            "def f(): pass\nfrom s.other import *",
            "from s.other import *\ndef f(): pass",
        ),
    ],
)
def test_what_importing_does_and_what_is_looked_up_by_name_count(
    tmp_path: Path, library: str, old: str, new: str
) -> None:
    """Effects, registries, conditional and repeated definitions of an imported module, whatever is used of it."""
    assert library.count(old) == 1
    files = {"s__other": "LIMIT = 0\ndef f(): return 1\n", "s__more": "def f(): return 2\n"}
    files |= {"s__between": "from s.lib import f\ndef g(): return 1\ndef h(): return f()\n"}
    for main in ("from s.lib import f\ndef main(): f()\n", "from s.between import g, h\ndef main(): h()\n"):
        before = printed(tmp_path, s__main=main, s__lib=library, **files)
        assert before != printed(tmp_path, s__main=main, s__lib=library.replace(old, new), **files)


def test_an_import_that_nothing_uses_is_there_for_what_it_does(tmp_path: Path) -> None:
    """All of the module counts; and so does what a package's __init__ does, or imports for others."""
    files = {
        "s__plugin": "def g():\n    return 1\n",
        "s__init": "",
        "s__lib__init": "from s.plugin import g\n",
        "s__lib__text": FUNCTION,
    }
    for main in (
        "import s.plugin\n",
        "from s import plugin\n",
        "from s.plugin import g\n",
        "from s.lib.text import f\nf(1)\n",
    ):
        before = printed(tmp_path, s__main=main, **files)
        assert before != printed(tmp_path, s__main=main, **files | {"s__plugin": "def g():\n    return 2\n"})
    before = printed(tmp_path, s__main="from s.lib import g\ng()\n", **files)
    assert before == printed(tmp_path, s__main="from s.lib import g\ng()\n", **files | {"s__lib__text": "X = 1\n"})


def test_a_module_whose_attributes_are_computed_counts_as_a_whole(tmp_path: Path) -> None:
    """By getattr, in a table, as an argument, or as a package; import_module of a computed name reaches every module."""
    files = {"s__init": "", "s__lib__init": "", "s__lib__a": "def f(): return 1\ndef g(): return 1\n"}
    for main in (
        "from s.lib import a\ndef main(name): return getattr(a, name)\n",
        "import s.lib.a\nTABLE = {'a': s.lib.a}\n",
        "from s import lib\nimport s.lib.a\ndef main(name): return vars(lib)[name]\n",
        "import importlib\ndef main(name): return importlib.import_module(name)\n",
        "from s.lib import a\ndef main(): return a.not_there\n",
    ):
        before = printed(tmp_path, s__main=main, **files)
        assert before != printed(
            tmp_path, s__main=main, **files | {"s__lib__a": "def f(): return 1\ndef g(): return 2\n"}
        ), main


def test_modules_that_import_each_other_end_and_an_edit_to_one_reaches_both(tmp_path: Path) -> None:
    """Functions of two modules call each other; of the third, which calls neither, an edit counts for main alone."""
    a, b = "from s.b import g\ndef f(x): return g(x)\n", "from s.a import f\ndef g(x): return f(x) + 1\n"
    main = "from s.{} import {}\ndef main(): return 1\n"
    for name, function in ("af", "bg"):
        text = main.format(name, function) + f"def more(): return {function}(1)\n"
        before = printed(tmp_path, s__main=text, s__a=a, s__b=b)
        after = printed(tmp_path, s__main=text, s__a=a, s__b=b.replace("+ 1", "+ 2"))
        assert len(set(before.split()) & set(after.split())) == 1, "main"
        other_main = printed(tmp_path, s__main=text.replace("return 1", "return 2"), s__a=a, s__b=b)
        assert len(set(before.split()) & set(other_main.split())) == 3, "f, g and more"


def test_an_edit_to_one_of_a_circle_changes_all(tmp_path: Path) -> None:
    """Five functions that each call the next: none keeps its digest, however far it is from the edit."""
    functions = "".join(
        f"def {one}(x):\n    return {other}(x) + 0\n" for one, other in zip("abcde", "bcdea", strict=True)
    )
    before, after = (
        printed(tmp_path, s__main=functions.replace("+ 0", number, 1)).split() for number in ("+ 1", "+ 2")
    )
    assert len(before) == 6
    assert not set(before) & set(after)


def test_circles_come_after_what_they_use() -> None:
    """1 and 2 use each other, 2 uses 3, which uses itself; 4 uses all."""
    uses = {1: [2], 2: [1, 3], 3: [3], 4: [1, 2, 3]}
    found = [set(circle) for circle in circles([4], uses.__getitem__, ())]
    assert found == [{3}, {1, 2}, {4}]
    assert [set(circle) for circle in circles([4], uses.__getitem__, {3})] == [{1, 2}, {4}]


def test_a_resource_file_that_a_definition_names_is_code(tmp_path: Path) -> None:
    """Its contents count where the definition that names it is reached; its name does not, nor any other file."""
    library = "from pathlib import Path\nWORDS = Path(__file__).with_name('words.txt')\ndef f(): return WORDS\ndef g(): return 1\n"
    found = {}
    for used in "fg":
        for name, text in (("words.txt", "a"), ("words.txt", "b"), ("terms.txt", "a"), ("other.txt", "a")):
            made(tmp_path, s__lib=library.replace("words.txt", name if name != "other.txt" else "words.txt"))
            made(tmp_path, s__main=f"from s.lib import {used}\ndef main(): return {used}()\n")
            for old in (tmp_path / "s").glob("*.txt"):
                old.unlink()
            (tmp_path / "s" / name).write_text(text)
            found[used, name, text] = fingerprint(tmp_path / MAIN, tmp_path, False)
    assert found["f", "words.txt", "a"] == found["f", "terms.txt", "a"]
    assert len({found["f", *key] for key in (("words.txt", "a"), ("words.txt", "b"), ("other.txt", "a"))}) == 3
    assert len({text for (used, *_), text in found.items() if used == "g"}) == 1


def test_of_plumbing_only_the_imported_name_counts(tmp_path: Path) -> None:
    """Neither its code nor its packages; another name of it does."""
    file = "osler__build__progress"
    assert "osler/build/progress.py" in EXEMPT
    main = "from osler.build.progress import {}\ndef main(): return [*{}([])]\n"
    before = printed(
        tmp_path, s__main=main.format("a", "a"), **{file: "import tqdm\ndef a(x): return x\ndef b(x): return x\n"}
    )
    assert before == printed(
        tmp_path, s__main=main.format("a", "a"), **{file: "import os\nos.x = 1\ndef a(x): return 2\n"}
    )
    assert before != printed(
        tmp_path, s__main=main.format("b", "b"), **{file: "def a(x): return x\ndef b(x): return x\n"}
    )
    assert closure(tmp_path / "tree" / MAIN, tmp_path / "tree") == ({MAIN}, set())


def test_imports_are_followed_through_modules_in_every_spelling(tmp_path: Path) -> None:
    """import a.b, from a import b, from a.b import c and relative imports, also inside functions; packages are named.

    What only type checkers import is not read, but a package among it is one.
    """
    made(
        tmp_path,
        s__init="",
        s__top="from s.lib import one\nimport s.lib.two\ndef f():\n    from s.lib.three import x\n    import numpy.random\n",
        s__lib__one="from .four import y\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch, s.lib.five\n",
        s__lib__two="import json\n",
        s__lib__three="x = 1\n",
        s__lib__four="y = 1\nNAME = 'four.txt'\n",
        s__lib__five="z = 1\n",
    )
    (tmp_path / "s/lib/four.txt").touch()
    files, packages = closure(tmp_path / "s/top.py", tmp_path)
    modules = {f"s/lib/{name}.py" for name in ("one", "two", "three", "four")}
    assert files == {"s/__init__.py", "s/top.py", "s/lib/four.txt", *modules}
    assert packages == {"numpy", "torch"}


def test_package_versions_are_public_ones(tmp_path: Path) -> None:
    """A CPU build and a CUDA build of one release are one version."""
    made(tmp_path, top="import torch\nimport polars\n")
    text = fingerprint(tmp_path / "top.py", tmp_path, with_packages=True)
    assert "torch 2." in text
    assert "+" not in text
    assert "polars" not in fingerprint(tmp_path / "top.py", tmp_path, with_packages=False)


def test_an_edit_is_named_after_the_definition_and_not_after_those_that_use_it(tmp_path: Path) -> None:
    """Also of two that use each other, and of one that lost what it used."""
    files = {
        "s__main": "from s.lib import f, h\ndef main(): return f(1), h(1)\n",
        "s__lib": "A, B = 1, 2\ndef f(x): return g(x) + A\ndef g(x): return f(x)\ndef h(x): return g(x)\n",
    }
    before = printed(tmp_path, **files)
    lib = files["s__lib"]
    for old, new, names in (
        ("A, B = 1", "A, B = 3", ["s/lib.py A B"]),
        ("return f(x)", "return f(x) - 1", ["s/lib.py f", "s/lib.py g"]),
        ("+ A", "", ["s/lib.py f", "s/lib.py g"]),
        ("h(x): return g(x)", "h(x): return x", ["s/lib.py h"]),
        ("A, B", "# A, B\nA, B", []),
    ):
        printed(tmp_path, **files | {"s__lib": lib.replace(old, new)})
        assert edited(tmp_path / "tree" / MAIN, tmp_path / "tree", before) == names


def test_python_versions_agree(tmp_path: Path) -> None:
    """The fingerprint of this source is known, whichever Python runs the test (3.11, 3.12 and 3.13 agreed on it)."""
    source = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True, order=True)
class A:
    x: "int | None" = None
    y: float = -1e-5

    async def f(self, *a, b=b"\\x00", **c) -> list[int]:
        match a:
            case [A(x=1), *rest] if (n := len(rest)) > 1:
                return [i async for i in rest if i]
            case {"k": 1.5, **others} | others:
                yield others
        with open(f"{self.x!r:>{n}} {self.y:.3f} {{}}" 'more' f"{n=}") as g, g as h:
            assert not g, "m"
        try:
            del a[1:2, ...]
        except* (OSError, ValueError) as e:
            raise e from None
        return lambda *, k=3, **o: np.float32(k)
"""
    assert printed(tmp_path, s__main=source) == "0c450803ab3745bbc6e583c9\n3dd71c917bc52582d7d33372\n"


"""
"""


def test_a_distribution_is_found_by_the_files_it_lists() -> None:
    """As importlib's own, slower mapping finds it, for packages that are not named after what they provide."""
    from importlib.metadata import packages_distributions

    everything = packages_distributions()
    for package in ("yaml", "PIL", "pycld2", "sklearn", "polars_hash", "dateutil", "git", "attr", "google"):
        assert packages._providers(package) == sorted(set(everything.get(package, []))), package
