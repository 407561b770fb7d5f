"""Section `judge`: who judges the texts of tasks, and how it is asked.

A judge is a model with a name and a pin: of the Hub at one commit, a folder with its digest, the build's own base, or a model
behind an address that the environment tells. What it says is read as text, or as the likelihood of its possible verdicts.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from osler.build.hub import CommitId, Patterns, Repository
from osler.build.section import EACH_ONCE, Section, absent

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Names = Annotated[list[str], Field(min_length=1), EACH_ONCE]
PINS = {
    "repository": ("repository", "revision", "files"),
    "folder": ("folder", "digest"),
    "from": ("origin",),
    "address": ("address", "served_model"),
}
"""What says which model it is, and the fields that go with it."""


class Judge(Section):
    """A section `judge.<name>`."""

    repository: Repository | None = absent("of the Hub, owner/name")
    revision: CommitId | None = absent("of the repository, a commit")
    files: Patterns | None = absent("of the repository, as patterns: 'model*.safetensors'")
    folder: str | None = absent(
        "in place of `repository`: a model's folder, absolute or relative to this one", min_length=1
    )
    digest: str | None = absent("of the folder's files; `osler check` says it where it is absent or another")
    origin: Literal["base"] | None = absent("in place of `repository`: base, the build's own", alias="from")
    address: Variable | None = absent(
        "in place of `repository`: variable of the environment with an address that answers as OpenAI's does, https://host/v1"
    )
    served_model: str | None = absent("the model's name at the address, with its version", min_length=1)
    key: Variable | None = absent("variable of the environment with the key of the address; null: none")
    tasks: Names = Field(description="whose texts are judged; by their criteria, where they have some")
    pairs: list[tuple[str, str]] | None = absent(
        "of models, whose texts are compared in both orders; null: none", min_length=1
    )
    models: Names | None = absent("whose texts are held against criteria; null: all that are evaluated")
    reading: Literal["written", "likelihood"] = Field(
        description="the verdict is read from what the judge writes, or is the likelier of its possible ones"
    )
    limit_tokens: int = Field(ge=1, le=1 << 24, description="of what the judge writes")
    limit_items: int | None = absent("of each task, those of lowest seeded rank; null: all that were asked", ge=1)
    batch_tokens: int = absent("padded tokens of one forward pass of transformers", default=4096, gt=0, le=1 << 40)
    vllm: str | None = absent("its version, which writes in place of transformers; null: transformers", min_length=1)
    own_temperature: bool = absent("an address is sent none, for models that take none but their own", default=False)
    jobs: int = absent("requests at once to an address", default=8, ge=1, le=1024)

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        named = [pin for pin, fields in PINS.items() if any(getattr(self, field) for field in fields)]
        if len(named) != 1:
            raise ValueError("needs one of `repository`, `folder`, `from` and `address`, which says what model it is")
        if lacking := [field for field in PINS[named[0]] if getattr(self, field) is None and field != "digest"]:
            raise ValueError(f"`{named[0]}` needs {' and '.join(f'`{field}`' for field in lacking)} beside it")
        if self.address is None and self.key is not None:
            raise ValueError("`key` goes with `address`")
        if self.address is None and self.own_temperature:
            raise ValueError("`own_temperature` goes with `address`: a judge that runs here is asked greedily")
        if self.address is not None and self.reading != "written":
            raise ValueError("an address gives no likelihoods; set `reading` to written")
        if self.vllm is not None and (self.address is not None or self.reading != "written"):
            raise ValueError("`vllm` is for a judge of its own folder that writes")
        if self.address is None and "jobs" in self.model_fields_set:
            raise ValueError("`jobs` goes with `address`: a judge that runs here is asked in batches")
        once = [frozenset(pair) for pair in self.pairs or ()]
        if twice := [pair for pair in self.pairs or () if once.count(frozenset(pair)) > 1 and pair[0] != pair[1]]:
            raise ValueError(
                f"`pairs`: {' and '.join(twice[0])} stand there twice; keep one, it is shown in both orders"
            )
        if wrong := [pair for pair in self.pairs or () if pair[0] == pair[1]]:
            raise ValueError(f"`pairs`: {wrong[0][0]} beside itself; name another model")
        return self
