"""Tasks inferred from Gaussians of classes, on points that are drawn here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from osler.inference.task_inference import (
    Classes,
    by_distance,
    by_head,
    classes_of,
    drawn_states,
    read_classes,
    shared_covariance,
    shrunk,
    write_classes,
)

STRETCHED = np.diag([10.0, 0.3, 1.0])


def points(mean: list[float], count: int, seed: int, spread: NDArray[np.float64] = STRETCHED) -> NDArray[np.float32]:
    """Draws of a Gaussian around a mean."""
    drawn = np.random.default_rng(seed).normal(size=(count, 3)) @ spread
    return np.asarray(drawn + np.array(mean), np.float32)


def task(means: list[list[float]], seed: int, count: int = 60) -> Classes:
    """Classes around means, of one shape."""
    states = np.concatenate([points(mean, count, seed + place) for place, mean in enumerate(means)])
    labels = [str(place) for place in range(len(means)) for _ in range(count)]
    return classes_of(states, labels, sorted(set(labels)))


TASKS = {"a": task([[0, 0, 0], [0, 0, 8]], 1), "b": task([[0, 3, 0]], 5)}


def test_what_is_kept_is_mean_covariance_and_count() -> None:
    """Those of numpy, of each class by itself, whatever the order of rows."""
    states, labels = points([1, 2, 3], 9, 2), list("xyxyxyxyx")
    found = classes_of(states, labels, ["y", "x"])
    for place, label in enumerate(["y", "x"]):
        own = states[np.array(labels) == label].astype(np.float64)
        assert np.allclose(found.means_CD[place], own.mean(0), atol=1e-5)
        assert np.allclose(found.covariances_CDD[place], np.cov(own.T), rtol=1e-4, atol=1e-4)
    assert found.counts_C.tolist() == [4, 5]


def test_distance_is_mahalanobis_and_not_euclidean() -> None:
    """A text 2 away along the wide axis and 2.5 along the thin one is of the class that is as far but along the wide one.

    By Euclidean distance, which shrinkage 1 is, it is of the other.
    """
    text = np.array([[7.0, 2.9, 0.0]], np.float32)
    near_a = np.array([[0.0, 1.6, 0.0]], np.float32)
    assert by_distance(text, TASKS, 0.01) == ["b"]
    tasks = {"a": task([[6.0, 0.0, 0.0]], 1), "b": task([[0.0, 3.0, 0.0]], 5)}
    assert by_distance(text, tasks, 0.01) == ["b"]
    assert by_distance(text, tasks, 1.0) == ["a"]
    assert by_distance(near_a, {"a": TASKS["a"]}, 0.01) == ["a"]


def test_a_covariance_is_shrunk_towards_a_sphere_of_its_trace() -> None:
    """Trace stays, a share of 1 is the sphere, one of texts that are all the same can be inverted."""
    covariance = torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    for share in (0.25, 1.0):
        assert float(shrunk(covariance, share).trace()) == pytest.approx(6.0)
    assert torch.equal(shrunk(covariance, 1.0), 3.0 * torch.eye(2, dtype=torch.float64))
    torch.linalg.cholesky(shrunk(torch.zeros(2, 2, dtype=torch.float64), 0.1))


def test_the_shared_covariance_is_within_classes() -> None:
    """Pooled by degrees of freedom: how far means lie apart is no part of it, a large class counts more."""
    states = np.array([[0, 0], [2, 0], [100, 0], [100, 4], [100, 8]], np.float32)
    both = {"t": classes_of(states, list("aabbb"), ["a", "b"])}
    expected = np.diag([2 * 1.0, 2 * 16.0]) / 3  # sums of squares 2 and 32 over 1 + 2 degrees of freedom
    assert np.allclose(shared_covariance(both, 1e-9), expected, atol=1e-6)


@pytest.mark.parametrize("way", ["distance", "head"])
def test_both_ways_find_the_task(way: str) -> None:
    """Of points of their own classes more than nine of ten; the first class of a task is not favored."""
    states = np.concatenate([points([0, 0, 0], 100, 21), points([0, 0, 8], 100, 22), points([0, 3, 0], 100, 23)])
    found = by_distance(states, TASKS, 0.01) if way == "distance" else by_head(states, TASKS, 0.01, 200, 1)
    right = np.array(found) == np.array(["a"] * 200 + ["b"] * 100)
    assert min(right[:200].mean(), right[200:].mean()) > 0.9


def test_a_task_more_changes_nothing_that_is_kept(tmp_path: Path) -> None:
    """What is read again are the same tensors, in the order asked, and equal tasks make equal bytes."""
    write_classes(TASKS, tmp_path / "one")
    write_classes(dict(reversed(list(TASKS.items()))), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = read_classes(tmp_path / "one", ["b", "a"])
    assert list(found) == ["b", "a"]
    for name, each in found.items():
        assert torch.equal(each.covariances_CDD, TASKS[name].covariances_CDD)
        assert torch.equal(each.counts_C, TASKS[name].counts_C)


def test_draws_have_the_classes_moments() -> None:
    """Mean and covariance of 20,000 draws, each class by itself; equal seeds draw the same, others do not."""
    drawn, classes = drawn_states(TASKS, 0.01, 20_000, 3)
    own = drawn[classes == 1].numpy()
    expected = shrunk(TASKS["a"].covariances_CDD[1].double(), 0.01).numpy()
    assert np.allclose(own.mean(0), TASKS["a"].means_CD[1].numpy(), atol=0.3)
    assert np.allclose(np.cov(own.T), expected, rtol=0.05, atol=0.3)
    assert torch.equal(drawn_states(TASKS, 0.1, 5, 3)[0], drawn_states(TASKS, 0.1, 5, 3)[0])
    assert not torch.equal(drawn_states(TASKS, 0.1, 5, 3)[0], drawn_states(TASKS, 0.1, 5, 4)[0])


def test_a_task_is_as_likely_as_its_classes_together() -> None:
    """Between a task of two like classes and one that is half as likely again as each of these, it is the first."""
    means = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    round_ = torch.eye(2).expand(2, 2, 2)
    tasks = {
        "two": Classes(means, round_, torch.tensor([9, 9])),
        "one": Classes(torch.tensor([[2.0, 0.0]]), round_[:1], torch.tensor([9])),
    }
    texts = np.array([[1.2, 0.0], [1.7, 0.0]], np.float32)  # 1.5 and 4 times as likely
    assert by_head(texts, tasks, 0.01, 3000, 1) == ["two", "one"]
