"""Lists of messages in the forms that are about."""

from typing import Any

import pytest

from osler.ingest.faults import Fault
from osler.ingest.messages import CONTEXT, message_turns


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": content} | more


ASK, TELL = said("user", "Cough?"), said("assistant", "Since May.")


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([ASK, TELL], [("user", "Cough?"), ("assistant", "Since May.")]),
        ([ASK, TELL | {"weight": 0}, ASK, TELL | {"weight": 1}], ["user", CONTEXT, "user", "assistant"]),
        ([ASK, TELL | {"train": False}, ASK, TELL | {"train": True}], ["user", CONTEXT, "user", "assistant"]),
        ([ASK | {"weight": 0}, TELL | {"weight": None}], ["user", "assistant"]),
        ([{"from": "Human", "value": "a"}, {"from": "chatgpt", "value": "b"}], [("user", "a"), ("assistant", "b")]),
        ([{"from": "user", "value": "a"}, {"from": "bing", "value": "b"}], ["user", "assistant"]),
        ([said("USER", "a"), said("model", "b")], ["user", "assistant"]),
        ([said(" Human ", "a"), said("Assistant", "b")], ["user", "assistant"]),
        (
            [
                {"role": None, "content": None, "from": "human", "value": "a"},
                {"role": "gpt", "from": None, "value": "b"},
            ],
            ["user", "assistant"],
        ),
        (
            [ASK, TELL | {"weight": 0.0, "train": None}, ASK, TELL | {"weight": 1.0}],
            ["user", CONTEXT, "user", "assistant"],
        ),
        ([said("user", [{"type": None, "text": "a"}, "b"]), TELL], [("user", "a\nb"), ("assistant", "Since May.")]),
        (
            [
                said("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
                said("assistant", [{"text": "c"}]),
            ],
            [("user", "a\nb"), ("assistant", "c")],
        ),
        ([said("system", "Be brief."), ASK, TELL], [("user", "Be brief.\n\nCough?"), ("assistant", "Since May.")]),
    ],
)
def test_messages_are_turns(messages: list[dict[str, Any]], turns: list[Any]) -> None:
    """Roles alone, or roles with texts."""
    found = message_turns(messages, "m")
    assert isinstance(found, list)
    assert (found if isinstance(turns[0], tuple) else [role for role, _ in found]) == turns


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([TELL, ASK, TELL], "begins_with_assistant"),
        ([said("system", "Hello."), TELL, ASK], "begins_with_assistant"),
        ([ASK, said("tool", "37.2"), TELL], "tool_message"),
        ([{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"}], "tool_message"),
        ([ASK, said("assistant", None, tool_calls=[{"id": 1}])], "tool_message"),
        ([ASK, said("assistant", None, function_call={"name": "f"})], "tool_message"),
        ([ASK, said("assistant", 1.5)], "malformed_row"),
        ([ASK, TELL | {"weight": "0"}], "malformed_row"),
        ([said("user", [{"type": "image_url", "image_url": {}}]), TELL], "not_text"),
        ([ASK, said("assistant", [{"type": "text"}])], "malformed_row"),
        ([ASK, said("assistant", {"text": "a"})], "malformed_row"),
        ([ASK, TELL | {"weight": 0.5}], "malformed_row"),
        ([ASK, TELL | {"train": "no"}], "malformed_row"),
        ([ASK, TELL | {"weight": 0}], "malformed_row"),
        ([ASK, ASK, TELL], "malformed_row"),
        ([said("narrator", "a"), TELL], "malformed_row"),
        ([ASK], "malformed_row"),
        ([], "malformed_row"),
        ("no list", "malformed_row"),
        (None, "missing_field"),
    ],
)
def test_what_cannot_be_learned_as_it_was_meant_has_a_reason(messages: Any, reason: str) -> None:
    """One each."""
    found = message_turns(messages, "m")
    assert isinstance(found, Fault)
    assert found.reason == reason
