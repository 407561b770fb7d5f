"""Settings of all tests, and the build that those of whole builds share."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from osler.training.stopping import SIGNALS
from tests.support.project import Project, copied, ran

# no deadline: the first example may compile what it calls
settings.register_profile(
    "same", deadline=None, derandomize=True
)  # the same examples everywhere: green here is green there
settings.register_profile(
    "random", deadline=None
)  # pytest --hypothesis-profile random looks for new ones; what it finds is kept
settings.load_profile("same")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # run in the background of a script; what tests start and send Ctrl-C to would pass over it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are called by their number: those of a compressed file hold the time, and processes would disagree on names."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of whole builds first, then trainings: of several processes none is left alone with minutes of them at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("dag") is None, "training" not in item.path.parts))


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """No test leaves another answer to a signal: under SIGPIPE's own, the next write to a process that ended kills pytest."""
    numbers = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    assert after == before


@pytest.fixture
def trains_here() -> Iterator[None]:
    """For tests that train in this process: a stage's own is told no more that it is to stop, and this one goes on."""
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The build, committed: once a process, since it takes minutes."""
    project = copied(tmp_path_factory.mktemp("osler"), "micro")
    assert "evaluate@cpt-sft" in ran(project.run("dvc", "repro"))
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    return project


@pytest.fixture
def project(built: Project) -> Iterator[Project]:
    """The build, reset afterwards."""
    yield built
    built.reset()
