"""The sizes of the base model.

`pretrain` starts from them, what `download_model` brings is compared with them, and `plan` computes with them.
"""

from typing import Self

from pydantic import Field, model_validator

from osler.build.section import Section


class Experts(Section):
    """Section `architecture.experts`: what makes a Mistral a Mixtral (arXiv 2401.04088)."""

    number: int = Field(ge=2, le=1024, description="in each layer")
    per_token: int = Field(ge=1, description="that a token is sent to")
    router_loss_coefficient: float = Field(
        ge=0,
        le=1000,
        description="of the auxiliary loss that spreads tokens over experts, beside the language-model loss",
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.per_token > self.number:
            raise ValueError("per_token is more than number")
        return self


class Architecture(Section):
    """Section `architecture`: a Mistral of any size, or with `experts` a Mixtral."""

    hidden_size: int = Field(ge=8, le=1 << 16, description="width of a hidden state; an even multiple of heads")
    layers: int = Field(ge=1, le=1024, description="blocks of attention and feed-forward")
    heads: int = Field(ge=1, le=1024, description="of attention; a multiple of key_value_heads")
    key_value_heads: int = Field(ge=1, le=1024, description="shared by several heads where they are fewer")
    intermediate_size: int = Field(ge=8, le=1 << 20, description="of each expert, where there are several")
    initializer_range: float = Field(ge=1e-6, le=10, description="standard deviation of the initial weights")
    tie_embeddings: bool = Field(description="one matrix for input and output embeddings")
    maximum_positions: int = Field(ge=16, le=1 << 24, description="tokens of the longest input")
    experts: Experts | None = Field(default=None, description="null: a dense model")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.key_value_heads:
            raise ValueError("hidden_size must be a multiple of heads, and heads of key_value_heads")
        if self.head_size % 2:
            raise ValueError(
                f"a head of {self.head_size} numbers cannot be rotated by pairs; take a hidden_size that is an even"
                f" multiple of heads, such as {self.heads * (self.head_size + 1)}"
            )
        return self

    @property
    def head_size(self) -> int:
        """Numbers in a head of attention."""
        return self.hidden_size // self.heads
