"""Stage `template`: the chat template that conversations and prompts are written with.

It is apart from the tokenizer, so that another one reruns what is rendered with it and no pretraining. It is probed here too:
whoever starts `dvc repro` without the check learns of a broken one before a model is trained on it.
"""

from pathlib import Path

from osler.build.files import write_text
from osler.build.stage import run
from osler.tokens.chat_templates import ChatTemplate, check_chat_template


def main(chat_template: ChatTemplate, template: Path) -> None:
    """Write the file `template`, as transformers writes it to a model's folder.

    Raises:
        BuildError: see `check_chat_template`.
    """
    check_chat_template(chat_template)
    write_text(template, chat_template)


if __name__ == "__main__":
    run(main)
