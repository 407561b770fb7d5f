"""Which of several tasks a text belongs to, by Gaussians of a frozen model's states.

Of each class of each task only mean, covariance and count are kept, no text. Two ways to infer a task: the nearest class by
Mahalanobis distance, all classes sharing one covariance; or a linear softmax over classes that is trained on draws from the
classes' Gaussians, a task being as likely as its classes together. A task that comes later adds its classes, and changes
nothing of what is kept of others.

HiDe-PET (arXiv 2407.05229, of which the abstract was read) infers tasks, too, and recovers what the pretrained model made of
former ones. States are the untouched model's here, so that what is kept of a task never ages. The nearest class by one
covariance is Lee et al. 2018's (arXiv 1807.03888).

Shapes: N texts, D state width, C classes of a task, K classes of all tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RIDGE = (
    1e-3  # of the head's weights, on standardized states: keeps classes that draws part wholly from growing for ever
)
STEPS = 200  # of the head, at most


@dataclass(frozen=True)
class Classes:
    """What is kept of a task.

    Its classes are in the order of its labels. Covariances are those of the sample, over n - 1.
    """

    means_CD: Tensor
    covariances_CDD: Tensor
    counts_C: Tensor


def classes_of(states_ND: NDArray[np.float32], labels: Sequence[str], known: Sequence[str]) -> Classes:
    """Mean and covariance of each class in `known`.

    Args:
        states_ND: of learned texts.
        labels: of these; each of `known` at least twice.
    """
    states, names = torch.from_numpy(states_ND).double(), np.asarray(labels)
    means, covariances, counts = [], [], []
    for label in known:
        own_ND = states[torch.from_numpy(names == label)]
        centered_ND = own_ND - own_ND.mean(0)
        means.append(own_ND.mean(0))
        covariances.append(centered_ND.T @ centered_ND / (len(own_ND) - 1))
        counts.append(len(own_ND))
    return Classes(torch.stack(means).float(), torch.stack(covariances).float(), torch.tensor(counts))


def shrunk(covariance_DD: Tensor, shrinkage: float) -> Tensor:
    """A covariance on the way to the sphere of the same trace.

    That can be inverted.

    Args:
        covariance_DD: float64.
        shrinkage: share of the way, above 0.
    """
    width = len(covariance_DD)
    size = torch.clamp(covariance_DD.trace() / width, min=1e-12)  # of texts that are all the same
    return (1 - shrinkage) * covariance_DD + shrinkage * size * torch.eye(width, dtype=torch.float64)


def shared_covariance(tasks: Mapping[str, Classes], shrinkage: float) -> Tensor:
    """The covariance (D, D) within all classes, shrunk.

    Classes count by their degrees of freedom.
    """
    freedom = sum(int((each.counts_C - 1).sum()) for each in tasks.values())
    total_DD = sum(
        (
            torch.einsum("c,cde->de", (each.counts_C - 1).double(), each.covariances_CDD.double())
            for each in tasks.values()
        ),
        torch.zeros((), dtype=torch.float64),
    )
    return shrunk(total_DD / freedom, shrinkage)


def by_distance(states_ND: NDArray[np.float32], tasks: Mapping[str, Classes], shrinkage: float) -> list[str]:
    """The task of the class that is nearest to each text.

    It is the first one of equally near ones.
    """
    factor_DD = torch.linalg.cholesky(shared_covariance(tasks, shrinkage))
    means_KD = torch.cat([each.means_CD for each in tasks.values()]).double()

    def white(values: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor_DD, values.T, upper=False).T

    states, means = white(torch.from_numpy(states_ND).double()), white(means_KD)
    squares_NK = (states**2).sum(1)[:, None] - 2 * states @ means.T + (means**2).sum(1)
    owners = [task for task, each in tasks.items() for _ in range(len(each.means_CD))]
    return [owners[place] for place in squares_NK.argmin(1).tolist()]


def drawn_states(tasks: Mapping[str, Classes], shrinkage: float, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """`draws` states of each class's Gaussian, its covariance shrunk.

    Returns:
        (K * draws, D), and the class of each (K * draws).
    """
    generator, drawn, number = torch.Generator().manual_seed(seed), [], 0
    for each in tasks.values():
        for mean_D, covariance_DD in zip(each.means_CD, each.covariances_CDD, strict=True):
            factor_DD = torch.linalg.cholesky(shrunk(covariance_DD.double(), shrinkage))
            normal_ND = torch.randn(draws, len(mean_D), generator=generator, dtype=torch.float64)
            drawn.append(mean_D.double() + normal_ND @ factor_DD.T)
            number += 1
    return torch.cat(drawn), torch.arange(number).repeat_interleave(draws)


def by_head(
    states_ND: NDArray[np.float32], tasks: Mapping[str, Classes], shrinkage: float, draws: int, seed: int
) -> list[str]:
    """The likeliest task of each text by a linear softmax.

    It is over all classes, and trained on draws (`drawn_states`) by L-BFGS, from zeros: nothing but the draws depends on `seed`.
    """
    drawn_MD, classes_M = drawn_states(tasks, shrinkage, draws, seed)
    center_D, scale_D = drawn_MD.mean(0), drawn_MD.std(0).clamp(min=1e-12)
    inputs_MD, number = (drawn_MD - center_D) / scale_D, int(classes_M.max()) + 1
    weight_DK = torch.zeros(inputs_MD.shape[1], number, dtype=torch.float64, requires_grad=True)
    bias_K = torch.zeros(number, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_DK, bias_K], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits_MK = inputs_MD @ weight_DK + bias_K
        value: Tensor = torch.nn.functional.cross_entropy(logits_MK, classes_M) + RIDGE * (weight_DK**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        states = (torch.from_numpy(states_ND).double() - center_D) / scale_D
        likely_NK = torch.softmax(states @ weight_DK + bias_K, 1)
    ends = np.cumsum([len(each.means_CD) for each in tasks.values()])
    parts = torch.tensor_split(likely_NK, torch.from_numpy(ends[:-1]), dim=1)
    names, likely_NT = list(tasks), torch.stack([part.sum(1) for part in parts], 1)
    return [names[place] for place in likely_NT.argmax(1).tolist()]


def write_classes(tasks: Mapping[str, Classes], path: Path) -> None:
    """Write what is kept of all tasks as safetensors.

    Names are `<task>/means` and so on.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for task, each in sorted(tasks.items()):
        tensors |= {f"{task}/counts": each.counts_C, f"{task}/covariances": each.covariances_CDD}
        tensors[f"{task}/means"] = each.means_CD
    path.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}, {"format": "pt"}))


def read_classes(path: Path, names: Sequence[str]) -> dict[str, Classes]:
    """What is kept of the tasks in `names`, in that order."""
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(path)
    keys = ("means", "covariances", "counts")
    return {task: Classes(*(found[f"{task}/{key}"] for key in keys)) for task in names}
