"""The base of every params section, and the one error a user is meant to read."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _each_once(values: Sequence[Any] | None) -> Sequence[Any] | None:
    if twice := [value for value, times in Counter(values or ()).items() if times > 1]:
        raise ValueError(f"{twice[0]} is named twice; take one out")
    return values


def _relative(path: str) -> str:
    if path.startswith("/"):
        raise ValueError("must be relative to `root`")
    if path.strip() != path or not path.isprintable():
        raise ValueError("has blanks around it, or characters that cannot be seen; write the path as it is")
    return path


LONGEST_LINE, BEGINNING = 3000, 800  # characters
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
EACH_ONCE = AfterValidator(_each_once)
"""Of a list in which nothing may stand twice."""
RelativePath = Annotated[
    str, Field(min_length=1, description="file or folder, relative to `root`"), AfterValidator(_relative)
]


class Section(BaseModel):
    """A section of params.yaml.

    Every key is set there, no key is unknown, no type is coerced, every number is finite, and nothing is changed
    afterwards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def absent(description: str, default: Any = None, **bounds: Any) -> Any:
    """A key that may be left out.

    Where it has its default it is not written into artifacts, so that builds which came before it keep their bytes.
    """
    return Field(default=default, exclude_if=lambda value: value == default, description=description, **bounds)


class BuildError(Exception):
    """Bad input.

    The message is one line that names file, key or row, and says what to do. Lines inside of it, which come with names
    and values, are joined, and the middle of a very long one is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        super().__init__(line if len(line) <= LONGEST_LINE else f"{line[:BEGINNING]} ... {line[-BEGINNING // 2 :]}")


STOPPED = 75
"""Exit code of what was stopped before its end and goes on when it is run again: EX_TEMPFAIL of sysexits.h."""


class StoppedError(BuildError):
    """Stopped before the end, as was asked; what was done is kept.

    `code` is the exit code.
    """

    def __init__(self, message: str, code: int = STOPPED) -> None:
        super().__init__(message)
        self.code = code
