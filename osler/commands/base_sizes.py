"""Sizes of the base model, where params or the downloaded base tell them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.model.architecture import Architecture
from osler.model.origin import BASE

COUNTED = ("mistral", "llama")  # model types whose parameters are those of `Architecture`
UNKNOWN = "its sizes are not known before models/base is downloaded"


@dataclass(frozen=True)
class Sizes:
    """What is known of the base model; None is not known.

    Attributes:
        architecture: of a kind whose costs can be counted.
        vocabulary: rows of the embedding.
        positions: tokens of the longest input.
        kind: the model's type, where config.json told the sizes.
    """

    architecture: Architecture | None
    vocabulary: int | None
    positions: int | None
    kind: str | None = None

    @property
    def counted(self) -> tuple[Architecture, int] | None:
        """Both that costs are counted from."""
        return (self.architecture, self.vocabulary) if self.architecture and self.vocabulary else None

    @property
    def why_not(self) -> str:
        """Why `counted` is None."""
        if self.kind is None:
            return f"base model: {UNKNOWN}; costs are counted then"
        return f"base model: a {self.kind}, whose costs are not counted; they are those of {' and '.join(COUNTED)} only"


def base_sizes(params: Mapping[str, Any], root: Path) -> Sizes:
    """What params or the config.json of models/base say.

    Embeddings are as many as that file says, where it is there: a base may have more than its tokenizer has tokens.
    """
    given, config = params["architecture"], downloaded_config(params, root)
    vocabulary = config.get("vocab_size") or params["tokenizer"].get("vocabulary_size")
    architecture = None if given is None else Architecture.model_validate(given)
    if architecture is None and config.get("model_type") in COUNTED:
        architecture = _architecture(config)
    positions = architecture.maximum_positions if architecture else config.get("max_position_embeddings")
    return Sizes(architecture, vocabulary, positions, config.get("model_type"))


def downloaded_config(params: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The config.json of models/base, or nothing.

    It counts if the section download_model.base in force has brought it.
    """
    section, folder = params["download_model"].get(BASE), root / "models" / BASE
    if not isinstance(section, Mapping) or not (folder / "config.json").is_file():
        return {}
    try:
        provenance = read_json(folder / "provenance.json")
        config: dict[str, Any] = read_json(folder / "config.json")
    except (OSError, ValueError):
        return {}
    names = ("repository", "revision", "package", "version", "file")
    is_same = all(provenance.get(name) == section.get(name) for name in names)
    return config if is_same else {}


def _architecture(config: Mapping[str, Any]) -> Architecture | None:
    """That of a config.json; None where heads are not as wide as `Architecture` has them."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if config.get("head_dim") not in (None, hidden // heads):
        return None
    return Architecture(
        hidden_size=hidden,
        layers=config["num_hidden_layers"],
        heads=heads,
        key_value_heads=config.get("num_key_value_heads") or heads,
        intermediate_size=config["intermediate_size"],
        initializer_range=config.get("initializer_range", 0.02),
        tie_embeddings=bool(config.get("tie_word_embeddings", False)),
        maximum_positions=config["max_position_embeddings"],
    )


def check_base(params: Mapping[str, Any]) -> None:
    """Where base model, tokenizer and chat template come from must agree.

    Raises:
        BuildError: `architecture` is null where the base is made here, or tokenizer and template have no base to come from.
    """
    is_brought, kind = BASE in params["download_model"], params["tokenizer"]["kind"]
    if params["architecture"] is None and params["pretrain"]:
        raise BuildError(f"{PARAMS}: architecture: null, and pretrain makes a model of it; write its sizes")
    if kind == "base" and not is_brought:
        raise BuildError(
            f"{PARAMS}: tokenizer.kind: base takes the tokenizer of download_model.base, and there is none; set that section,"
            " or the kind to bpe"
        )
    if params["chat_template"] is None and kind != "base":
        raise BuildError(
            f"{PARAMS}: chat_template: null takes the base's own, which only tokenizer.kind base brings; write one"
        )
