"""A system prompt needs a template that knows systems."""

import pytest

from osler.build.section import BuildError
from osler.commands.check_prompts import check_system_prompt
from tests.support.params import profile_params
from tests.tokens.test_marks import CHATML


@pytest.mark.parametrize("prompt", [None, "Be brief."])
@pytest.mark.parametrize("template", [None, CHATML])
def test_a_template_with_roles_may_say_it(prompt: str | None, template: str | None) -> None:
    """Or the one of a base, which is not at hand."""
    check_system_prompt({"chat_template": template, "evaluate": {"system_prompt": prompt}})


def test_a_template_that_would_answer_with_it_is_refused() -> None:
    """The default's writes what is no user's as the assistant's."""
    params = profile_params("default")
    check_system_prompt(params)
    params["evaluate"]["system_prompt"] = "Be brief."
    with pytest.raises(
        BuildError, match=r"evaluate.system_prompt: chat_template writes it as an answer of the assistant"
    ):
        check_system_prompt(params)
