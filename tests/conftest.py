"""Settings of all tests, and the build that those of whole builds share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.project import Project, copied, ran

settings.register_profile("untimed", deadline=None)  # the first example may compile what it calls
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of whole builds first: of several processes none is left alone with minutes of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("dag") is None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The build, committed."""
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
