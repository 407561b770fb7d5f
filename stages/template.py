"""Stage `template`: the chat template that conversations and prompts are written with.

The section `chat_template`; where it is null, the one that the base brings with its tokenizer (tokenizer.kind base).

It is apart from the tokenizer, so that another one reruns what is rendered with it and no pretraining. It is probed here too, with
the marks of the tokenizer: whoever starts `dvc repro` without the check learns of a broken one before a model is trained on it.
"""

from pathlib import Path

from osler.build.files import write_text
from osler.build.section import BuildError
from osler.build.stage import run
from osler.tokens.base_tokenizer import TEMPLATE
from osler.tokens.chat_templates import ChatTemplate, check_chat_template


def main(chat_template: ChatTemplate, tokenizer: Path, template: Path) -> None:
    """Write the file `template`, as transformers writes it to a model's folder.

    Raises:
        BuildError: see `check_chat_template`; or there is none.
    """
    own = tokenizer / TEMPLATE
    if chat_template is None and not own.is_file():
        raise BuildError("params.yaml: chat_template: null, and the base brings none; write one")
    text = own.read_text(encoding="utf-8") if chat_template is None else chat_template
    check_chat_template(text, tokenizer)
    write_text(template, text)


if __name__ == "__main__":
    run(main)
