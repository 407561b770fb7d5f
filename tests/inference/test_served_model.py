"""A served model is asked over HTTP: in order, again where it pays, never elsewhere, and its key is never told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from osler.build.section import BuildError
from osler.inference.interface import Prompt, Sampling, Written
from osler.inference.served_model import LONGEST_PAUSE, Address, ServedModel, address_of

KEY = "sk-0123456789-secret"
GREEDY = Sampling(limit_tokens=7, temperature=0.0)
Reply = tuple[int, dict[str, str], Any] | None
"""Status, headers and body, as JSON or as text; None: the connection is dropped."""


def written(content: str | None, **rest: Any) -> Reply:
    """An answer of the API."""
    usage = {"completion_tokens": 3, "prompt_tokens": 5}
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return 200, {}, {"model": "judge-7b-2026", "choices": [choice], "usage": usage} | rest


def echo(body: dict[str, Any], _: int) -> Reply:
    """Says what was asked last."""
    return written(f"to {body['messages'][-1]['content']}")


@dataclass
class Server:
    """Answers with `reply`, of a request's body and how many of the same text came before; notes what came."""

    port: int = 0
    reply: Callable[[dict[str, Any], int], Reply] = echo
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self) -> list[str]:
        """The last turns, as they came."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def model(self, **rest: Any) -> ServedModel:
        """Asks this server, with the key."""
        return ServedModel(Address(f"http://127.0.0.1:{self.port}/v1", "judge", KEY), **{"pause": time.sleep} | rest)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """On this machine, whatever proxy it uses."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    own = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with own.lock:
                before = own.asked().count(body["messages"][-1]["content"])
                own.bodies.append(body)
                own.paths.append(self.path)
                own.keys.append(self.headers["Authorization"])
            reply = own.reply(body, before)
            if reply is None:
                self.close_connection = True
                return
            status, headers, said = reply
            content = (said if isinstance(said, str) else json.dumps(said)).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that has gone is part of the tests."""

    served = Quiet(("127.0.0.1", 0), Handler)
    own.port = served.server_port
    threading.Thread(target=lambda: served.serve_forever(poll_interval=0.01), daemon=True).start()
    yield own
    served.shutdown()
    served.server_close()


def asking(*texts: str) -> list[Prompt]:
    """A prompt of one turn each."""
    return [Prompt((("user", text),), ()) for text in texts]


def test_answers_are_in_the_order_of_the_prompts_however_they_come(server: Server) -> None:
    """The first prompt is answered last, and still is the first; some are asked at once, never more than `jobs`."""
    at_once, most, came, others = 0, 0, list[tuple[int, str, str]](), threading.Event()

    def slow_first(body: dict[str, Any], _: int) -> Reply:
        nonlocal at_once, most
        with server.lock:
            at_once += 1
            most = max(most, at_once)
        is_first = body["messages"][-1]["content"] == "0"
        reply = echo(body, 0) if not is_first or others.wait(20) else (400, {}, "asked one by one")
        with server.lock:
            at_once -= 1
        return reply

    server.reply = slow_first
    me = threading.get_ident()

    def heard(place: int, one: Written, model: str) -> None:
        assert threading.get_ident() == me
        came.append((place, one.text, model))
        if len(came) == 11:
            others.set()

    found = server.model(jobs=3).texts(asking(*map(str, range(12))), GREEDY, range(12), heard)
    assert found == [Written(f"to {number}", 3, 5, truncated=False) for number in range(12)]
    assert 1 < most <= 3
    assert came[-1] == (0, "to 0", "judge-7b-2026")
    assert sorted(came) == sorted((number, f"to {number}", "judge-7b-2026") for number in range(12))


def test_what_is_sent_is_the_turns_and_how_to_draw(server: Server) -> None:
    """Every turn with its role, the seed in 31 bits, `top_p` only below 1, and the key as a bearer token."""
    turns = (("system", "Judge."), ("user", "Is it so?"), ("assistant", "No."), ("user", "Ünd jetzt?"))
    prompt = Prompt(turns, ("A", "B"))
    server.model(jobs=1).texts([prompt, prompt], Sampling(9, 0.7), [3, (1 << 63) + 5])
    server.model(jobs=1).texts([prompt], Sampling(9, 0.7, 0.9), [4])
    first, second, third = server.bodies
    assert first == {
        "model": "judge",
        "messages": [{"role": role, "content": content} for role, content in turns],
        "temperature": 0.7,
        "max_tokens": 9,
        "seed": 3,
    }
    assert second == first | {"seed": 5}
    assert third == first | {"seed": 4, "top_p": 0.9}
    assert set(server.paths) == {"/v1/chat/completions"}
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_without_a_key_no_token_is_sent(server: Server) -> None:
    """A server on this machine may need none."""
    ServedModel(Address(f"http://127.0.0.1:{server.port}/v1", "judge", None)).texts(asking("a"), GREEDY, [0])
    assert server.keys == [None]


def test_what_a_server_leaves_out_is_nothing(server: Server) -> None:
    """A null text is empty, absent counts are 0, an unnamed model is ''; a text cut at the limit is no error."""
    cut = {"choices": [{"message": {"content": "half of"}, "finish_reason": "length"}]}
    replies: dict[str, Reply] = {"a": written(None, usage=None, model=None), "b": (200, {}, cut)}
    server.reply = lambda body, _: replies[body["messages"][-1]["content"]]
    models: dict[int, str] = {}
    found = server.model().texts(
        asking("a", "b"), GREEDY, [0, 0], lambda place, _, model: models.update({place: model})
    )
    assert found == [Written("", 0, 0, truncated=False), Written("half of", 0, 0, truncated=False)]
    assert models == {0: "", 1: ""}


@pytest.mark.parametrize(
    ("replies", "pauses"),
    [
        ([(429, {"Retry-After": "3"}, {})], [3.0]),
        ([(429, {"Retry-After": "0.2"}, {})], [1.0]),
        ([(429, {"Retry-After": "86400"}, {})], [LONGEST_PAUSE]),
        ([(503, {"Retry-After": "Fri, 27 Nov 2026 07:28:00 GMT"}, "loading")], [1.0]),
        ([None], [1.0]),
        ([(408, {}, ""), None, (500, {}, "<html>"), (502, {"Retry-After": "1"}, "")], [1.0, 2.0, 4.0, 8.0]),
    ],
)
def test_a_server_that_is_busy_is_asked_again(server: Server, replies: list[Reply], pauses: list[float]) -> None:
    """After 1, 2, 4 ... seconds, or as many as it wants where that is more, and at most a minute."""
    server.reply = lambda body, before: replies[before] if before < len(replies) else echo(body, before)
    slept: list[float] = []
    assert server.model(pause=slept.append).texts(asking("a"), GREEDY, [0])[0].text == "to a"
    assert slept == pauses
    assert server.bodies == [server.bodies[0]] * (len(replies) + 1)


def test_a_server_that_takes_too_long_is_asked_again(server: Server) -> None:
    """The second answer, which is in time, counts."""
    done = threading.Event()

    def late(body: dict[str, Any], before: int) -> Reply:
        if not before:
            done.wait(5)
        return echo(body, before)

    server.reply, slept = late, list[float]()
    found = server.model(timeout=0.2, pause=slept.append).texts(asking("a"), GREEDY, [0])
    done.set()
    assert (found[0].text, slept) == ("to a", [1.0])


def test_after_all_tries_the_error_says_how_many_answers_had_come(server: Server) -> None:
    """Those are heard first; the last try is not waited after."""
    server.reply = lambda body, _: (
        (503, {}, {"error": "warming up"}) if body["messages"][-1]["content"] == "b" else echo(body, 0)
    )
    slept, came = list[float](), list[int]()
    with pytest.raises(BuildError) as caught:
        server.model(jobs=1, tries=3, pause=slept.append).texts(
            asking("a", "b", "c"), GREEDY, [0] * 3, lambda place, *_: came.append(place)
        )
    host = f"127.0.0.1:{server.port}"
    assert str(caught.value) == f"{host}: HTTP 503 warming up, 3 times; 1 of 3 answers had come and are kept"
    assert (came, slept, server.asked()) == ([0], [1.0, 2.0], ["a", "b", "b", "b"])


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what went wrong, and no word of keeping where nobody listens."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    model = ServedModel(Address("http://127.0.0.1:9/v1", "judge", KEY), tries=2, pause=lambda _: None)
    with pytest.raises(BuildError, match=r"^127\.0\.0\.1:9: ConnectError .*, 2 times; 0 of 1 answers had come$"):
        model.texts(asking("a"), GREEDY, [0])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_ends_it_at_once_and_the_key_is_not_told(server: Server, status: int) -> None:
    """One request, one line with host, status and what the server says, even where it repeats the key."""
    said = f"Key {KEY} of\nnobody. " + "x" * 5000
    server.reply = lambda *_: (status, {}, {"error": {"message": said, "code": 1}})
    with pytest.raises(BuildError) as caught:
        server.model(jobs=1, pause=pytest.fail).texts(asking("a", "b"), GREEDY, [0, 0])
    assert str(caught.value).startswith(f"127.0.0.1:{server.port}: HTTP {status} Key *** of nobody. xxx")
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert server.asked() == ["a"]


def test_the_newer_name_of_the_limit_is_sent_where_it_is_asked_for(server: Server) -> None:
    """Once it was asked for, in all that is sent; and a server that takes neither is a refusal."""
    takes = "max_completion_tokens"

    def newer(body: dict[str, Any], _: int) -> Reply:
        said = f"Unsupported parameter: 'max_tokens' is not supported with this model. Use '{takes}' instead."
        refused: Reply = 400, {}, {"error": {"message": said, "param": "max_tokens", "code": "unsupported_parameter"}}
        return echo(body, 0) if takes in body and "none" not in server.asked() else refused

    server.reply = newer
    found = server.model(jobs=1, pause=pytest.fail).texts(asking("a", "b"), Sampling(9, 0.0), [0, 0])
    assert [one.text for one in found] == ["to a", "to b"]
    assert [(body.get("max_tokens"), body.get(takes)) for body in server.bodies] == [(9, None), (None, 9), (None, 9)]
    with pytest.raises(BuildError, match="HTTP 400 Unsupported parameter"):
        server.model(jobs=1, pause=pytest.fail).texts(asking("none"), GREEDY, [0])
    assert server.asked()[3:] == ["none", "none"]


@pytest.mark.parametrize(
    "error",
    [
        {"message": "The response was filtered", "code": "content_filter"},
        {"message": "This model's maximum context length is 2048 tokens.", "code": 400},
    ],
)
def test_one_prompt_that_is_refused_does_not_stop_the_others(server: Server, error: dict[str, object]) -> None:
    """It is not heard, and says why."""
    server.reply = lambda body, _: (400, {}, {"error": error}) if server.asked()[-1] == "b" else echo(body, 0)
    found = server.model(jobs=1).texts(asking("a", "b", "c"), GREEDY, [0, 0, 0])
    assert [one.truncated for one in found] == [False, True, False]
    assert found[1].text == error["message"]


def test_half_a_character_can_be_written_down(server: Server) -> None:
    """JSON can hold it, and UTF-8 cannot."""
    server.reply = lambda *_: (200, {}, '{"choices": [{"message": {"content": "\\ud800 yes \\ud83d\\ude00"}}]}')
    assert [one.text for one in server.model().texts(asking("a"), GREEDY, [0])] == ["\ufffd yes \U0001f600"]


def test_a_model_may_keep_its_own_temperature(server: Server) -> None:
    """A refusal says how."""
    server.model(own_temperature=True).texts(asking("a"), GREEDY, [0])
    assert "temperature" not in server.bodies[0]
    server.reply = lambda *_: (400, {}, {"error": {"message": "Unsupported value: 'temperature' does not support 0"}})
    with pytest.raises(BuildError, match="does not support 0; own_temperature: true sends none; 0 of 1"):
        server.model().texts(asking("a"), GREEDY, [0])


def test_an_address_does_not_show_its_key() -> None:
    """Nor does a traceback that shows it."""
    assert repr(Address("http://a/v1", "m", KEY)) == "Address(url='http://a/v1', model='m')"


def test_what_is_under_way_at_a_failure_is_heard_and_nothing_more_is_sent(server: Server) -> None:
    """An answer that comes later than the refusal was paid for; the prompts after it are not asked."""
    refused = threading.Event()

    def one_refused(body: dict[str, Any], _: int) -> Reply:
        if body["messages"][-1]["content"] == "bad":
            refused.set()
            return 400, {}, {"detail": "too long"}
        assert refused.wait(5)
        time.sleep(0.1)
        return echo(body, 0)

    server.reply, came = one_refused, list[int]()
    with pytest.raises(BuildError, match=r"HTTP 400 too long; 1 of 9 answers had come and are kept$"):
        server.model(jobs=2).texts(
            asking("slow", "bad", *"cdefghi"), GREEDY, [0] * 9, lambda place, *_: came.append(place)
        )
    assert came == [0]
    assert sorted(server.asked()) == ["bad", "slow"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_who_stops_waits_for_nothing_and_nothing_more_is_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Ctrl-C, or a listener that fails, while other requests hang: two at most, as there are jobs."""
    done = threading.Event()
    server.reply = lambda body, _: echo(body, int(body["messages"][-1]["content"] != "b" and done.wait(20)))

    def heard(*_: object) -> None:
        raise error

    closed: list[httpx2.Client] = []
    monkeypatch.setattr(httpx2.Client, "close", lambda client: closed.append(client))
    started = time.monotonic()
    with pytest.raises(error):
        server.model(jobs=2).texts(asking("hangs", *"bcdefghi"), GREEDY, [0] * 9, heard)
    assert time.monotonic() - started < 10
    done.set()
    time.sleep(0.2)
    assert set(server.asked()) <= {"hangs", "b", "c"}
    assert not closed  # under a thread that reads
    server.model().texts(asking("b"), GREEDY, [0])
    assert len(closed) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(server: Server, status: int) -> None:
    """The text would go to a host that nobody named; the error says where to."""
    server.reply = lambda *_: (status, {"Location": f"http://127.0.0.1:{server.port}/v2?token=1"}, "")
    with pytest.raises(
        BuildError, match=rf"HTTP {status}, a redirect to 'http://127.0.0.1:{server.port}/v2', which is not"
    ):
        server.model().texts(asking("a"), GREEDY, [0])
    assert server.paths == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    "said",
    ["<html>", [], {}, {"choices": []}, {"choices": [{"text": "completion"}]}, {"choices": [{"message": "a"}]}, 1],
)
def test_an_answer_in_another_form_is_refused(server: Server, said: object) -> None:
    """Such as a web page, or the older completions API."""
    server.reply = lambda *_: (200, {}, said)
    with pytest.raises(BuildError, match=r"^127.*: HTTP 200 without choices\[0\]\.message"):
        server.model().texts(asking("a"), GREEDY, [0])


def test_content_that_is_no_text_is_refused(server: Server) -> None:
    """A list of parts, for one."""
    server.reply = lambda *_: (200, {}, {"choices": [{"message": {"content": [{"type": "text"}]}}]})
    with pytest.raises(BuildError, match="content is no text"):
        server.model().texts(asking("a"), GREEDY, [0])


@pytest.mark.parametrize(
    "prompt", [Prompt((("user", "a"),), (), is_plain=True), Prompt((("user", "a"),), (), begun="The")]
)
def test_what_the_api_cannot_say_is_refused_before_anything_is_sent(server: Server, prompt: Prompt) -> None:
    """A plain text would be put into a chat template, and a begun answer into a turn of its own."""
    with pytest.raises(BuildError, match="cannot be sent to a served model"):
        server.model().texts([*asking("a"), prompt], GREEDY, [0, 0])
    assert server.bodies == []


def test_nothing_asked_is_nothing_sent_and_each_prompt_needs_a_seed(server: Server) -> None:
    """No thread, no request."""
    assert server.model().texts([], GREEDY, []) == []
    with pytest.raises(ValueError, match="shorter"):
        server.model().texts(asking("a", "b"), GREEDY, [0])
    with pytest.raises(ValueError, match="0 jobs"):
        server.model(jobs=0)
    with pytest.raises(ValueError, match="0 tries"):
        server.model(tries=0)
    assert server.bodies == []


def test_a_key_that_no_header_can_hold_is_not_told(server: Server) -> None:
    """The library's own message would show it."""
    model = ServedModel(Address(f"http://127.0.0.1:{server.port}/v1", "judge", "hunter2\nX-Other: 1"))
    with pytest.raises(BuildError, match=r": LocalProtocolError; look at its address; 0 of 1") as caught:
        model.texts(asking("a"), GREEDY, [0])
    assert "hunter2" not in str(caught.value)


def test_a_fault_of_our_own_is_raised_as_it_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not hidden as the server's, and nobody waits for ever."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(httpx2.Client, "post", broken)
    with pytest.raises(ZeroDivisionError):
        server.model().texts(asking("a", "b"), GREEDY, [0, 0])


def test_an_address_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without blanks around it or a slash at its end; the key from a variable of its own."""
    monkeypatch.setenv("JUDGE_URL", " https://host:8000/v1/ ")
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n")
    assert address_of("JUDGE_URL", "judge", None) == Address("https://host:8000/v1", "judge", None)
    assert address_of("JUDGE_URL", "judge", "JUDGE_KEY") == Address("https://host:8000/v1", "judge", KEY)


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        (None, KEY, "JUDGE_URL is not set; put the address of the served model in it, such as JUDGE_URL=http://"),
        (" ", KEY, "JUDGE_URL is not set"),
        ("host:8000/v1", KEY, "JUDGE_URL holds no http or https URL"),
        ("ftp://host/v1", KEY, "JUDGE_URL holds no http or https URL"),
        ("http://", KEY, "JUDGE_URL holds no http or https URL"),
        ("http://host:99999999/v1", KEY, "JUDGE_URL holds no http or https URL of a host"),
        ("http://host:port/v1", KEY, "JUDGE_URL holds no URL"),
        ("http://me:hunter2@host/v1", KEY, "JUDGE_URL has credentials in the URL"),
        ("http://hunter2@host/v1", KEY, "JUDGE_URL has credentials in the URL"),
        ("http://host/v1/chat/completions", KEY, "must end before /chat/completions"),
        ("http://host/v1?key=hunter2", KEY, "must end before /chat/completions and any"),
        ("http://host/v1#hunter2", KEY, "must end before /chat/completions and any"),
        ("http://host/v1", None, "JUDGE_KEY is not set; put the server's key in it"),
        ("http://host/v1", "hunter2\nX-Other:1", "JUDGE_KEY has blanks or odd characters"),
        ("http://host/v1", "hunter2 copied", "JUDGE_KEY has blanks or odd characters"),
        ("http://host/v1", "hunter2–", "JUDGE_KEY has blanks or odd characters"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, url: str | None, key: str | None, message: str
) -> None:
    """The variable is named, and what belongs in it."""
    for name, value in (("JUDGE_URL", url), ("JUDGE_KEY", key)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(BuildError, match=message.replace("?", r"\?")) as caught:
        address_of("JUDGE_URL", "judge", "JUDGE_KEY")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
