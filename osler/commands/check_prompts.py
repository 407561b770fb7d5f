"""Whether the chat template can say what the evaluation says first."""

from collections.abc import Mapping
from typing import Any

from osler.build.section import BuildError
from osler.build.validation import PARAMS

TURN = {"role": "user", "content": "q"}


def check_system_prompt(params: Mapping[str, Any]) -> None:
    """A system prompt must not be written as an answer.

    Only of a template that stands in params; one that a base brings is not at hand here.

    Raises:
        BuildError: the template writes it as it writes what the assistant says.
    """
    template = params.get("chat_template")
    if not params["evaluate"].get("system_prompt") or template is None:
        return
    from tokenizers import Tokenizer, models

    from osler.tokens.tokenizers import marked_tokenizer

    tokenizer = marked_tokenizer(Tokenizer(models.BPE()))
    tokenizer.chat_template = template
    system, answer = (
        tokenizer.apply_chat_template([{"role": role, "content": "s"}, TURN], tokenize=False)
        for role in ("system", "assistant")
    )
    if system == answer:
        raise BuildError(
            f"{PARAMS}: evaluate.system_prompt: chat_template writes it as an answer of the assistant; give the template a"
            " branch for the role system, or take the prompt out"
        )
