"""The sizes of a model that is trained from scratch."""

from pydantic import Field

from stages.lib.section import Section


class Architecture(Section):
    """Section `architecture`: a Mistral of any size."""

    hidden_size: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    key_value_heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=8)
    initializer_range: float = Field(gt=0, description="standard deviation of the initial weights")
    tie_embeddings: bool
    maximum_positions: int = Field(ge=16, description="tokens of the longest input")
