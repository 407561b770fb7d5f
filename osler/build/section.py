"""The base of every params section, and the one error a user is meant to read."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class Section(BaseModel):
    """A section of params.yaml.

    Every key is set there, no key is unknown, no type is coerced, and nothing is changed afterwards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BuildError(Exception):
    """Bad input.

    The message is one line that names file, key or row, and says what to do.
    """
