"""Lists of messages, in the forms that datasets have, as turns of a conversation.

A message is {role, content} (OpenAI's) or {from, value} (ShareGPT's); its content is a text, or a list of parts of which
each has one. `weight: 0` (mistral-finetune's) or `train: false` make an answer context: it is read, and not learned. What
cannot be learned as it was meant is a fault with a reason of its own: a conversation that the assistant begins (a chat
template starts with the user, and what the answer answers is not there), messages of tools, and pictures.
"""

from collections.abc import Mapping
from typing import Any

from osler.ingest.faults import Fault

CONTEXT = "assistant_context"  # an answer of the assistant that is not learned
USERS = ("user", "human", "prompter", "patient")
ASSISTANTS = ("assistant", "gpt", "chatgpt", "bing", "bard", "bot", "chatbot", "model", "doctor")
TOOLS = (
    "tool",
    "tool_call",
    "tool_response",
    "function",
    "function_call",
    "function_response",
    "observation",
    "ipython",
)
ROLES = (
    dict.fromkeys(USERS, "user")
    | dict.fromkeys(ASSISTANTS, "assistant")
    | dict.fromkeys(TOOLS, "tool")
    | {"system": "system"}
)
TEXT_PARTS = ("text", "input_text", "output_text")


def role_of(message: Mapping[str, Any]) -> str | None:
    """Who speaks: user, assistant, system or tool."""
    return ROLES.get(str(_either(message, "role", "from")).strip().lower())


def _either(message: Mapping[str, Any], key: str, other: str) -> Any:
    """The value of the one key, or the other's; columns of parquet have both, one of them null."""
    value = message.get(key)
    return message.get(other) if value is None else value


def _text(message: Mapping[str, Any]) -> str | Fault | None:
    """What a message says; None where it says nothing that is known."""
    content = _either(message, "content", "value")
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts: list[str] = []
    for part in content:
        kind = part.get("type") or "text" if isinstance(part, Mapping) else "text"
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind not in TEXT_PARTS:
            return Fault("not_text", f"a part of type {str(kind)[:40]!r}")
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)


def _is_learned(message: Mapping[str, Any], number: int) -> bool | Fault:
    weight, train = message.get("weight"), message.get("train")
    for name, value in (("weight", weight), ("train", train)):
        if value is not None and value not in (0, 1):
            return Fault("malformed_row", f"message {number}: '{name}' is {value!r}, neither 0 nor 1")
    return (weight is None or bool(weight)) and (train is None or bool(train))


def message_turns(messages: Any, field: str) -> list[tuple[str, str]] | Fault:
    """The conversation in a list of messages, as (role, content).

    User and assistant in turns, the user first; an answer that is not to be learned has the role CONTEXT.

    What a system message says goes before the first user's words, after which a blank line stands, as Mistral's own
    template has it.
    """
    if messages is None:
        return Fault("missing_field", f"no value for '{field}'")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return Fault("malformed_row", f"'{field}' is no list of messages")
    system, turns = "", list[tuple[str, str]]()
    for number, message in enumerate(messages):
        role = role_of(message)
        if role == "tool" or message.get("tool_calls") or message.get("function_call"):
            return Fault("tool_message", f"message {number} of '{field}' is to or of a tool")
        content, learned = _text(message), _is_learned(message, number)
        for found in (content, learned):
            if isinstance(found, Fault):
                return Fault(found.reason, f"'{field}': {found.detail}")
        if role is None or not isinstance(content, str):
            return Fault("malformed_row", f"message {number} of '{field}' has no role or no text that can be used")
        if role == "system" and not turns:
            system += f"{content}\n\n"
        elif role == "assistant" and not turns:
            return Fault("begins_with_assistant", f"nobody asks before message {number} of '{field}'")
        elif role != ("assistant" if len(turns) % 2 else "user"):
            return Fault("malformed_row", f"message {number} of '{field}' is not the user's or the assistant's in turn")
        else:
            turns.append(
                (CONTEXT if role == "assistant" and not learned else role, content if turns else system + content)
            )
    if not any(role == "assistant" for role, _ in turns):
        return Fault("malformed_row", f"'{field}' has no answer to learn")
    return turns
