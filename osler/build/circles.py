"""Nodes of a graph that reach each other."""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def circles(nodes: Iterable[T], uses: Callable[[T], list[T]], done: Container[T]) -> Iterator[list[T]]:
    """The nodes that reach each other, and each other one alone.

    Each list comes after those that its nodes use (Tarjan 1972).

    Args:
        nodes: to begin with.
        uses: the nodes that a node uses.
        done: nodes that need no visit.
    """
    number: dict[T, int] = {}
    lowest: dict[T, int] = {}
    open_nodes: dict[T, None] = {}
    for start in nodes:
        if start in done or start in number:
            continue
        path = [(start, iter(uses(start)))]
        number[start] = lowest[start] = len(number)
        open_nodes[start] = None
        while path:
            node, rest = path[-1]
            following = next(
                (one for one in rest if one not in done and (one not in number or one in open_nodes)), None
            )
            if following is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    circle = []
                    while node in open_nodes:
                        circle.append(open_nodes.popitem()[0])
                    yield circle
            elif following in number:
                lowest[node] = min(lowest[node], number[following])
            else:
                number[following] = lowest[following] = len(number)
                open_nodes[following] = None
                path.append((following, iter(uses(following))))
