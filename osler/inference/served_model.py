"""A model that somebody serves, behind an OpenAI-compatible address.

vLLM, llama.cpp, Ollama and paid services speak it. Each prompt is one POST to `{url}/chat/completions`, several at once.
A server that is busy, breaks off or does not answer is asked again; one that refuses is not. What it draws from a seed is its
own affair, and some heed no seed: the same question may get another answer tomorrow.

Source:
    OpenAI API reference, Create chat completion.
    RFC 9110, 10.2.3 (Retry-After).
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import httpx2

from osler.build.section import BuildError
from osler.inference.interface import Prompt, Sampling, Written

ASKED_AGAIN = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
UNFORESEEN = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
BUSY = (408, 429)  # besides 5xx
LONGEST_PAUSE = 60.0  # seconds, whatever the server asks for
CONNECT_SECONDS = 15.0  # at most, until a server takes a call
SEEDS = 1 << 31  # what every server takes: llama.cpp's are 32 bits, of which the last means none
UNHEARD = ("content_filter", "context_length_exceeded", "maximum context length")
"""In a refusal of one prompt alone: it may not be read, or is too long."""
LIMITS = ("max_tokens", "max_completion_tokens")  # all take the first, but OpenAI's newer models, which name the second
SHOWN = 200  # characters of what a server says is wrong


@dataclass(frozen=True)
class Address:
    """Where a served model answers.

    `url` is without /chat/completions, such as http://host:8000/v1; `model` is what the server calls it; `key` is a bearer
    token, which is never shown.
    """

    url: str
    model: str
    key: str | None = field(repr=False)


@dataclass(frozen=True)
class _Answered:
    written: Written
    model: str


@dataclass(frozen=True)
class _Busy:
    """Why nothing came, and how many seconds the server wants to be left alone."""

    why: str
    seconds: float = 0.0


class _Questions:
    """What the threads of one call share: which place is next, how many requests are under way, what came.

    After `stop` no request begins.
    """

    def __init__(self, count: int) -> None:
        self._places: Iterator[int] = iter(range(count))
        self._lock = threading.Lock()
        self._stopped = False
        self.under_way = 0
        self.outcomes: SimpleQueue[tuple[int, _Answered | Exception | None]] = SimpleQueue()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True

    def left(self) -> bool:
        """Whether an outcome is there or will come."""
        with self._lock:
            return self.under_way > 0 or not self.outcomes.empty()

    def place(self) -> int | None:
        """The next to ask; None where none is left."""
        with self._lock:
            return None if self._stopped else next(self._places, None)

    def begin(self) -> bool:
        """Whether a request may be sent.

        It is then under way until `end`.
        """
        with self._lock:
            self.under_way += not self._stopped
            return not self._stopped

    def end(self, place: int, outcome: _Answered | Exception | None) -> None:
        """A request has ended.

        None: it will be sent again. After an error no other begins.
        """
        with self._lock:
            self._stopped |= isinstance(outcome, Exception)
            self.under_way -= 1
            self.outcomes.put((place, outcome))


class ServedModel:
    """Texts by a model that is served.

    Args:
        address: where it answers.
        jobs: requests at once.
        tries: how often one request is sent at most. Between them are 1, 2, 4 ... seconds, or what the server asks for
            in `Retry-After` where that is longer, up to LONGEST_PAUSE.
        timeout: seconds that an answer may take.
        own_temperature: none is sent, for models that take none but their own.
        pause: waits that many seconds.
    """

    def __init__(
        self,
        address: Address,
        jobs: int = 8,
        tries: int = 6,
        timeout: float = 120.0,
        own_temperature: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if jobs < 1 or tries < 1:
            raise ValueError(f"{jobs} jobs and {tries} tries: each must be at least 1")
        self._address, self._jobs, self._tries, self._timeout, self._pause = address, jobs, tries, timeout, pause
        self._own_temperature, self._limit = own_temperature, LIMITS[0]
        self._host = httpx2.URL(address.url).netloc.decode()

    def texts(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        heard: Callable[[int, Written, str], None] | None = None,
    ) -> list[Written]:
        """Ask each prompt with its seed, without looking at its options.

        On the first failure, and on Ctrl-C, no more is sent. After a failure what is under way is waited for and heard.

        Args:
            prompts: chat turns that end with the user's.
            sampling: of all; `top_p` is sent where it is below 1.
            seeds: one a prompt; the rest of the division by 2**31 is sent.
            heard: called as each answer comes, from this thread: its place, what was written, and the model that the
                server says answered, "" where it says none. So what was paid for can be kept if a later one fails.
        Returns:
            In the order of the prompts; token counts are the server's, 0 where it gives none. A text that was cut at
            `limit_tokens` is a text like any other. A prompt that the server's filter refuses, or that is too long for it, is
            `truncated`, and the text says why.
        Raises:
            BuildError: a prompt is no chat or has an answer begun; the server refuses, redirects, or answers in another
                form; it did not answer after all tries.
        """
        bodies = [self._body(prompt, sampling, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        questions = _Questions(len(bodies))
        client = self._client()
        try:
            for _ in range(min(self._jobs, len(bodies))):
                threading.Thread(target=self._work, args=(client, bodies, questions), daemon=True).start()
            found: dict[int, Written] = {}
            failure: Exception | None = None
            while questions.left() if failure else len(found) < len(bodies):
                place, outcome = questions.outcomes.get()
                if isinstance(outcome, _Answered):
                    found[place] = outcome.written
                    if heard:
                        heard(place, outcome.written, outcome.model)
                else:
                    failure = failure or outcome
        finally:
            questions.stop()
            if not questions.under_way:  # else threads still read from it, until the process ends
                client.close()
        if isinstance(failure, BuildError):
            kept = " and are kept" if heard else ""
            raise BuildError(f"{failure}; {len(found)} of {len(bodies)} answers had come{kept}") from failure
        if failure:
            raise failure
        return [found[place] for place in range(len(bodies))]

    def _body(self, prompt: Prompt, sampling: Sampling, seed: int) -> dict[str, Any]:
        if prompt.is_plain or prompt.begun:
            what = "a prompt without a chat template" if prompt.is_plain else "an answer that is begun"
            raise BuildError(f"{self._host}: {what} cannot be sent to a served model; ask in chat turns")
        body = {
            "model": self._address.model,
            "messages": [{"role": role, "content": content} for role, content in prompt.turns],
            LIMITS[0]: sampling.limit_tokens,
            "seed": seed % SEEDS,
        }
        body |= {} if self._own_temperature else {"temperature": sampling.temperature}
        return body | ({"top_p": sampling.top_p} if sampling.top_p < 1 else {})

    def _client(self) -> httpx2.Client:
        key = self._address.key
        return httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, CONNECT_SECONDS)),
            limits=httpx2.Limits(max_connections=self._jobs, max_keepalive_connections=self._jobs),
            follow_redirects=False,  # the text would go to another host
        )

    def _work(self, client: httpx2.Client, bodies: Sequence[dict[str, Any]], questions: _Questions) -> None:
        while (place := questions.place()) is not None:
            for tried in range(1, self._tries + 1):
                if not questions.begin():
                    return
                outcome = self._sent(client, bodies[place])
                if not isinstance(outcome, _Busy):
                    questions.end(place, outcome)
                    break
                if tried == self._tries:
                    questions.end(place, BuildError(f"{self._host}: {outcome.why}, {tried} times"))
                    return
                questions.end(place, None)
                self._pause(min(LONGEST_PAUSE, max(2.0 ** (tried - 1), outcome.seconds)))

    def _sent(self, client: httpx2.Client, body: dict[str, Any]) -> _Answered | _Busy | Exception:
        try:
            name = self._limit
            sent = {name if key == LIMITS[0] else key: value for key, value in body.items()}
            response = client.post(f"{self._address.url}/chat/completions", json=sent)
            if name == LIMITS[0] and response.status_code == 400 and LIMITS[1] in response.text:
                self._limit = LIMITS[1]
                return self._sent(client, body)
            return self._read(response)
        except ASKED_AGAIN as error:
            return _Busy(self._shown(f"{type(error).__name__} {error}"))
        except httpx2.HTTPError as error:
            return BuildError(f"{self._host}: {type(error).__name__}; look at its address")  # may show the header
        except UNFORESEEN as error:  # raised again in the thread that asked
            return error

    def _read(self, response: httpx2.Response) -> _Answered | _Busy | BuildError:
        status = response.status_code
        said = "" if status == 200 else self._shown(_complaint(response))
        if status == 400 and any(one in response.text for one in UNHEARD):
            return _Answered(Written(said, 0, 0, truncated=True), "")
        if status in BUSY or status >= 500:
            return _Busy(f"HTTP {status} {said}".rstrip(), _seconds(response.headers.get("Retry-After", "")))
        if 300 <= status < 400:
            other = self._shown(response.headers.get("Location", "").partition("?")[0])
            return BuildError(
                f"{self._host}: HTTP {status}, a redirect to {other!r}, which is not followed, as texts would go to "
                "another place; set the address to where the model answers"
            )
        if status != 200:
            advice = "; own_temperature: true sends none" if status == 400 and "temperature" in said.lower() else ""
            return BuildError(f"{self._host}: HTTP {status} {said}".rstrip() + advice)
        try:
            answer = response.json()
            text = answer["choices"][0]["message"].get("content")
            usage, model = answer.get("usage") or {}, answer.get("model")
            tokens, read = (int(usage.get(name) or 0) for name in ("completion_tokens", "prompt_tokens"))
        except (ValueError, TypeError, LookupError, AttributeError):
            what = "HTTP 200 without choices[0].message, which is no answer of the chat completions API"
            return BuildError(f"{self._host}: {what}: {self._shown(_complaint(response))}")
        if not isinstance(text, str | None):
            return BuildError(f"{self._host}: choices[0].message.content is no text")
        who = model if isinstance(model, str) else ""
        return _Answered(Written(_whole(text or ""), tokens, read, truncated=False), _whole(who))

    def _shown(self, text: str) -> str:
        """In one line, shortened, without the key."""
        line = _whole(" ".join(text.split()))
        hidden = line.replace(self._address.key, "***") if self._address.key else line
        return hidden if len(hidden) <= SHOWN else f"{hidden[:SHOWN]} ..."


def address_of(variable: str, model: str, key_variable: str | None) -> Address:
    """Where a served model answers, as the environment says.

    Args:
        variable: names the environment variable that holds the URL.
        model: as the server calls it.
        key_variable: names the one that holds the key; None where none is needed.
    Raises:
        BuildError: one of them is not set, or holds what cannot be used. What it holds is not shown.
    """
    text = os.environ.get(variable, "").strip().rstrip("/")
    example = f"put the address of the served model in it, such as {variable}=http://host:8000/v1"
    if not text:
        raise BuildError(f"the environment variable {variable} is not set; {example}")
    try:
        url = httpx2.URL(text)
        is_port = url.port is None or 0 < url.port < 1 << 16
    except httpx2.InvalidURL:
        raise BuildError(f"the environment variable {variable} holds no URL; {example}") from None
    if url.scheme not in ("http", "https") or not url.host or not is_port:
        raise BuildError(f"the environment variable {variable} holds no http or https URL of a host; {example}")
    if url.userinfo:
        raise BuildError(
            f"the environment variable {variable} has credentials in the URL; put a key into its own variable"
        )
    if "?" in text or "#" in text or url.path.endswith("/chat/completions"):
        raise BuildError(f"the URL in {variable} must end before /chat/completions and any ? or #; {example}")
    if key_variable is None:
        return Address(text, model, None)
    key = os.environ.get(key_variable, "").strip()
    if not key:
        raise BuildError(f"the environment variable {key_variable} is not set; put the server's key in it")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BuildError(f"the key in {key_variable} has blanks or odd characters; copy it again")
    return Address(text, model, key)


def _complaint(response: httpx2.Response) -> str:
    """What the server says is wrong, as OpenAI, vLLM and FastAPI put it; else what it sent."""
    try:
        said: Any = response.json()
    except ValueError:
        return response.text
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else str(said)


def _whole(text: str) -> str:
    """With U+FFFD for halves of characters, which JSON can hold and no file in UTF-8."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _seconds(text: str) -> float:
    """Of `Retry-After`; 0 where it is a date or nothing."""
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else 0.0
