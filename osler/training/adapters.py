"""Sections of adapters: few weights trained beside a base model that stays as it is.

`full` is none: it trains all weights on the same rows, to compare with.
Checked without torch or peft. `tuned` is what stage `adapter` hands to a `Trainer` (trained_model.py), which calls it once a
seed; osler/model/adapters.py has what a method does to a model.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from osler.build.section import EACH_ONCE, BuildError
from osler.model.seeds import SEEDS, Seeds
from osler.training.finetuning import Sft, finetuned
from osler.training.recipe import Recipe

if TYPE_CHECKING:
    from osler.training.trained_model import Training

PREFIX = "adapter-"  # of the names of their folders
ALL_WEIGHTS = "full"  # the method that is no adapter


def _whole_model(name: str) -> str:
    if name.startswith(PREFIX):
        raise ValueError("an adapter stands on a whole model; name the one below it")
    return name


Rows = Annotated[str, Field(pattern=r"^(instructions|exercises/[A-Za-z0-9_][A-Za-z0-9_-]*)$")]
Start = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"), AfterValidator(_whole_model)]
ModuleName = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
ModuleNames = Annotated[tuple[ModuleName, ...], Field(min_length=1), EACH_ONCE]


class Tuning(Sft):
    """What all methods have.

    It is the model below, the noise, and a recipe of their own.
    """

    start: Start = Field(alias="from", description="a folder of models/, which stays as it is")
    rows: Rows = Field(description="what it learns: instructions, or exercises/<name> of section exercise")
    neftune_alpha: float = Field(ge=0, le=1000, description="of NEFTune; 0 is without noise")
    seeds: Seeds | None = Field(default=None, description="trained; absent: all of the build")

    def method_settings(self) -> dict[str, Any]:
        """What the result depends on besides rows, recipe and noise."""
        left_out = {*Recipe.model_fields, "epochs", "start", "rows", "neftune_alpha", "seeds"}
        return self.model_dump(mode="json", exclude=left_out)


class LowRank(Tuning):
    """LoRA: a thin product is added to a linear map.

    Hu et al. 2021, arXiv 2106.09685.
    """

    method: Literal["lora"] = Field(description="how weights are added; the other keys are of these methods")
    rank: int = Field(ge=1, le=4096, description="of the product")
    alpha: float = Field(gt=0, le=1e6, description="the product is scaled by alpha / rank")
    target_modules: ModuleNames | Literal["all-linear"] = Field(
        description="last names of linear maps; all-linear: all but head and routers"
    )


class WeightDecomposed(LowRank):
    """DoRA: LoRA of the direction, beside a learned magnitude.

    Each output has its own. Liu et al. 2024, arXiv 2402.09353.
    """

    method: Literal["dora"]  # type: ignore[assignment]


class QuantizedLowRank(LowRank):
    """QLoRA: LoRA beside weights of 4 bits.

    Dettmers et al. 2023, arXiv 2305.14314.
    """

    method: Literal["qlora"]  # type: ignore[assignment]


class Rescaled(Tuning):
    """IA3: learned factors of keys, values and inner activations.

    Liu et al. 2022, arXiv 2205.05638.
    """

    method: Literal["ia3"]
    target_modules: ModuleNames = Field(description="last names of linear maps whose output is scaled")
    feedforward_modules: Annotated[tuple[ModuleName, ...], EACH_ONCE] = Field(
        description="those of target_modules whose input is scaled instead"
    )

    @model_validator(mode="after")
    def _are_targets(self) -> Self:
        if others := sorted(set(self.feedforward_modules) - set(self.target_modules)):
            raise ValueError(f"feedforward_modules has {others[0]}, which target_modules has not; name it there too")
        return self


class SoftPrompt(Tuning):
    """Prompt tuning: learned embeddings before each conversation.

    Lester et al. 2021, arXiv 2104.08691.
    """

    method: Literal["prompt_tuning"]
    virtual_tokens: int = Field(
        ge=1, le=65536, description="learned embeddings, or keys and values of each layer, before each conversation"
    )


class KeyValuePrefix(Tuning):
    """Prefix tuning: learned keys and values before each conversation.

    Each layer has its own. Li & Liang 2021, arXiv 2101.00190.
    """

    method: Literal["prefix_tuning"]
    virtual_tokens: int = Field(ge=1, le=65536, description="learned keys and values before each conversation")


class GatedHead(Tuning):
    """A gated residual network before the head, which Osler alone loads.

    Lim et al. 2019, arXiv 1912.09363; for clinical notes Le et al. 2024, arXiv 2407.19299.
    """

    method: Literal["gated_residual"]
    inner_width: int = Field(ge=1, le=65536, description="of the network's inner layers")


class AllWeights(Tuning):
    """No adapter: all weights are trained, as sft trains them.

    What is made is a whole model.
    """

    method: Literal["full"]


AdapterSection = Annotated[
    LowRank | WeightDecomposed | QuantizedLowRank | Rescaled | SoftPrompt | KeyValuePrefix | GatedHead | AllWeights,
    Field(discriminator="method"),
]


def rows_of(instructions: Path, seed: int) -> Path:
    """The folder of rows that `seed` learns.

    Exercises have a draw for each seed, conversations are the same for all.

    Raises:
        BuildError: there are draws, and none of this seed.
    """
    if not (instructions / SEEDS).is_dir():
        return instructions
    own = instructions / SEEDS / str(seed)
    if not own.is_dir():
        raise BuildError(
            f"{instructions}: no draw of seed {seed}; list it in `seeds` of the build, or not in the adapter's"
        )
    return own


def tuned(model: Path, instructions: Path, section: Tuning, name: str, seed: int) -> "Training":
    """The training of an adapter of `model` on the responses in `instructions`.

    The model is the one of `seed`, which the adapter's first weights are drawn from too.

    Args:
        instructions: rows, or a draw for each seed (`rows_of`).
        name: of the adapter's folder.
    Raises:
        BuildError: the model has not what the section names.
    """
    rows = rows_of(instructions, seed)
    if section.method_settings()["method"] == ALL_WEIGHTS:
        return finetuned(model, rows, section, name, seed, alpha=section.neftune_alpha)
    # torch is imported when training starts: params are checked without it
    from osler.model.adapters import adapt

    training = finetuned(model, rows, section, name, seed, alpha=section.neftune_alpha)
    longest = int(training.run.sources["instructions"].lengths_S.max())
    where = f"params.yaml: {name.replace('-', '.', 1)}"
    adapter = adapt(training.model, section.method_settings(), seed, where, longest)
    return replace(training, adapter=replace(adapter, start=start_name(training.tokenizer)))


def start_name(folder: Path) -> str:
    """How a written adapter names its model's folder.

    From models/ on, without what lies above.
    """
    parts = folder.parts
    last = max((place for place, part in enumerate(parts) if part == "models"), default=len(parts) - 1)
    return "/".join(parts[last:])
