"""Med42-v2: the likelihood of the whole answer, in the model's own chat template.

The options are listed in a user's turn, and the log-likelihood of each option's letter and text (`B. oak`) is compared as the
assistant's answer, without a division by length. No solved questions.

Known from the source: EleutherAI's harness, zero-shot, chat templates built into it, and the likelihood of the full answer in
place of that of its letter alone. Its code was never published. Could not be recovered: the user's text (ours is the
harness's own question of that benchmark, without `Answer:`, which the template stands for); whether letters are capitals (the
source writes "a."); whether their system prompt stood before it (`evaluate.system_prompt` writes one). PubMedQA is not among
what they report.

Source: card of huggingface.co/m42-health/Llama3-Med42-8B, "MCQA Evaluation"; arXiv 2408.06142.
"""

from osler.evaluation.published import lm_eval
from osler.evaluation.published.form import PublishedProtocol, Shown, lettered
from osler.evaluation.questions import Item
from osler.inference.interface import Prompt

FORMATS = ("medqa", "medmcqa", "mmlu")


def prompt(item: Item, form: str, shown: Shown) -> Prompt:  # noqa: ARG001 - the source shows none
    """One user's turn, answered by a letter with its option."""
    text = lm_eval.question(item, form).removesuffix("\nAnswer:")
    return Prompt((("user", text),), tuple(lettered(item)))


PROTOCOL = PublishedProtocol(FORMATS, prompt, shows=False)
