"""What becomes logits of a decoder's last hidden states: its head alone, here.

Loss and likelihoods are computed from the two, a part of a long row at a time, and not by the model's own forward pass. What a
family does besides would be left out without a word.
"""

from typing import Any

from osler.build.section import BuildError

SCALES = ("final_logit_softcapping", "logits_scaling", "logit_scale")  # Gemma 2, Granite, Cohere


def refuse_other_logits(model: Any, with_bias: bool) -> None:
    """Refuse a model whose logits are not its head's alone.

    Args:
        model: a causal language model.
        with_bias: a bias of the head counts; training computes with its weight alone.

    Raises:
        BuildError: names what config.json scales or caps logits by, the bias, or the model's type.
    """
    kind = model.config.model_type
    if not hasattr(model, "lm_head") or not hasattr(model, "model"):
        raise BuildError(f"{kind}: no decoder with `model` and `lm_head`; take another base")
    found = [f"{key} {value:g}" for key in SCALES if (value := getattr(model.config, key, None)) not in (None, 1)]
    if not with_bias and getattr(model.lm_head, "bias", None) is not None:
        found.append("a bias of the output head")
    if found:
        raise BuildError(
            f"{kind}: {', '.join(found)}: logits that are scaled, capped or biased are not computed; take another base"
        )
