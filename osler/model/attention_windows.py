"""How far back each kind of layer attends."""

from typing import Any

from osler.build.section import BuildError

ALL_LAYERS, FULL, SLIDING = "all", "full_attention", "sliding_attention"


def attention_windows(config: Any) -> dict[str, int | None]:
    """The window of each kind of layer, as transformers' config says.

    The one key ALL_LAYERS is of models whose layers are alike, as Mistral's. Others (Gemma 3) take a mask for each kind.

    Raises:
        BuildError: a kind of layer that does not attend to all tokens or to the last ones.
    """
    kinds = sorted(set(getattr(config, "layer_types", None) or ()))
    if strange := [kind for kind in kinds if kind not in (FULL, SLIDING)]:
        raise BuildError(
            f"{config.model_type}: layers of the kind {', '.join(strange)} are not known; take another base"
        )
    window = getattr(config, "sliding_window", None)
    if SLIDING in kinds:
        return {kind: window if kind == SLIDING else None for kind in kinds}
    return {ALL_LAYERS: None if kinds else window}
