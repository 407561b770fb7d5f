"""Model cards say where a model comes from that no stage of the build trained."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from osler.report.model_cards import model_facts, weights_line
from osler.report.page import Items, markdown
from osler.report.sections import Records

LEDGER = [{"run": "adapter-thin", "source": "s", "license": "L", "epoch": 1, "tokens": 3}]
HUB = {"repository": "org/base", "revision": "abc", "inputs": {}}
PACKAGE = {"package": "llm_x", "version": "0.1.2", "file": "X.gguf", "inputs": {}}
MADE = {"token_ledger": [LEDGER[0] | {"run": "base"}]}


def shown(base: dict[str, Any], name: str) -> str:
    """The first lines of the card of a model beside that base."""
    models = {"base": {"provenance": base}, "adapter-thin": {"provenance": {"token_ledger": LEDGER}}}
    records = cast(Records, SimpleNamespace(models=models))
    return markdown([Items([*model_facts(name, records), weights_line(records)])])


@pytest.mark.parametrize(("base", "start"), [(HUB, "`org/base@abc`"), (PACKAGE, "`llm_x 0.1.2: X.gguf`")])
def test_a_base_that_is_brought_is_named_and_so_is_its_license(base: dict[str, Any], start: str) -> None:
    """It has no training runs of this build, what stands on it has, and its license holds for both."""
    own, above = shown(base, "base"), shown(base, "adapter-thin")
    assert own.startswith(f"* It is {start}.\n* The license of {start} holds")
    assert above.startswith(f"* Starts from {start}.\n* Training runs behind it, in their order: `adapter-thin`.\n")
    assert f"The license of {start} holds" in above


def test_a_base_that_is_made_here_has_a_run_and_no_license() -> None:
    """As before there were others."""
    assert shown(MADE, "base") == (
        "* Training runs behind it, in their order: `base`.\n"
        "* The weights come with no license of their own: who publishes them chooses one.\n"
    )
