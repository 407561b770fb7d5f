"""A chat template that would spoil training or prompts is refused before anything is built, in one line."""

import time

import pytest

from osler.build.pipeline import ROOT
from osler.build.profiles import profile_names
from osler.build.section import BuildError
from osler.tokens import chat_templates
from osler.tokens.chat_templates import check_chat_template
from osler.tokens.tokenizers import marked_tokenizer
from tests.support.params import PARAMS, profile_params

OURS: str = PARAMS["chat_template"]
CONTENT = "{{ message['content'] }}"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (  # the system message stands in the first question
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>' + messages[0]['content'] + '<</SYS>> ' %}"
    "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for turn in turns %}{% if turn['role'] == 'user' %}{{ bos_token }}[INST] {% if loop.first %}{{ system }}{% endif %}"
    "{{ turn['content'] }} [/INST]{% else %} {{ turn['content'] | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    "template",
    [CHATML, LLAMA_2, *filter(None, (profile_params(name)["chat_template"] for name in profile_names(ROOT)))],
)
def test_a_template_that_keeps_every_turn_passes(template: str) -> None:
    """Those of the profiles, and two that others use."""
    check_chat_template(template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (OURS.replace("{% endif %}", "{% endif }"), "line 2 of it: unexpected '}'; correct it"),
        ("{% for m in messages %}\n\n{{ m.content", "line 3 of it: unexpected end of template, expected 'end of print"),
        (OURS.replace(CONTENT, "{{ message['content'] | shout }}"), "line [12] of it: .*No filter named 'shout' found"),
        (OURS.replace(CONTENT, "{{ message['text'] | length }}{{ 1 / 0 }}"), "line 2 of it: .*division by zero; correct"),
        ("{{ raise_exception('no system role') }}", "line 1 of it: cannot write a conversation: no system role; correct"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot write a conversation: maximum recursion depth"),
        (OURS.replace("in messages", "in messages if message['role'] != 'system'"), r"turn 1 \(system\) is lost, "),
        (OURS.replace("in messages", "in messages[-3:]"), r"the text of turn 1 \(system\) is lost"),
        (OURS.replace("in messages", "in messages[:1] + messages[-2:]"), r"the text of turn 2 \(user\) is lost"),
        (OURS.replace("in messages", "in messages | reverse"), r"the text of turn 2 \(user\) is lost, changed or out of"),
        (
            "{% if messages[0]['role'] != 'system' %}{% set messages = messages[2:] %}{% endif %}" + CHATML,
            r"of a conversation without a system message, the text of turn 1 \(user\) is lost",
        ),
        (OURS.replace("['content'] }}", "['content'] | e }}"), r"turn 1 \(system\) is lost, changed"),
        (OURS.replace("['content'] }}", "['content'][:1000] }}"), r"turn 2 \(user\) is lost, changed"),
        ("", "is lost"),
        (OURS.replace("{{ eos_token }}", ""), "no end mark, such as {{ eos_token }}, after an answer"),
        (OURS.replace("{{ eos_token }}", "{{ bos_token }}"), "no end mark, such as {{ eos_token }}, after an answer"),
        (OURS.replace(f" {CONTENT}{{{{ eos_token }}}}", f"{{{{ eos_token }}}}{CONTENT}"), "no {{ eos_token }} after an a"),
        (CHATML.replace("assistant\n{% endif", "robot\n{% endif"), "does not begin with its own first turns"),
        (CHATML.replace("{% for", "{{ messages | length }}{% for"), "does not begin with its own first turns"),
        ("{{ 'x' * 2000000 }}" + OURS, "writes more than 1 MB of a conversation of 5 kB"),
        ("{{ 'x' * 3000000000 }}" + OURS, "takes more than 512 MB to write a conversation"),
        ("{% for _ in range(99999) %}{{ 'x' * 99999 }}{% endfor %}" + OURS, "takes more than 512 MB to write"),
        ("{{ strftime_now('%d %b %Y') }}" + OURS, "strftime_now: would write another conversation every day"),
    ],
)  # fmt: skip
def test_a_template_that_would_spoil_a_build_is_refused(template: str, message: str) -> None:
    """Key, line where there is one, what is wrong and what to do."""
    with pytest.raises(BuildError, match=f"^params.yaml: chat_template: .*{message}") as caught:
        check_chat_template(template)
    assert "\n" not in str(caught.value)


def test_a_template_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its second."""
    monkeypatch.setattr(chat_templates, "SECONDS", 0.3)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    started = time.process_time()
    with pytest.raises(
        BuildError, match=r"^params.yaml: chat_template: takes more than 0\.3 s to write a conversation"
    ):
        check_chat_template(endless + OURS)
    assert time.process_time() - started < 5


def test_what_is_probed_is_what_the_build_writes() -> None:
    """The marks are those of the tokenizers that the build makes."""
    from tokenizers import Tokenizer, models

    tokenizer = marked_tokenizer(Tokenizer(models.BPE()))
    tokenizer.chat_template = OURS
    turns = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == "<s>Question: a?\nAnswer: b</s>"
