"""Protocols as their authors published them, one module each.

A module says where its protocol comes from, at which commit, and what could not be found out. It names the formats of benchmarks
that it knows prompts for; `osler check` refuses others. Prompts are functions of items alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from osler.build.section import BuildError
from osler.evaluation.published import lm_eval, med42, meditron
from osler.evaluation.published.form import PublishedProtocol

PUBLISHED: dict[str, PublishedProtocol] = {
    "lm_eval": lm_eval.PROTOCOL,
    "med42": med42.PROTOCOL,
    "meditron": meditron.PROTOCOL,
}
SHOWING = ("few_shot", "knn_few_shot")  # strategies that show solved questions, and change nothing else


def check_published(names: Sequence[str], formats: Mapping[str, str], strategies: Mapping[str, Any]) -> None:
    """Published protocols must know each benchmark's format.

    The headline must also know what its strategies ask for.

    Args:
        names: of protocols, the headline first; others are answered by zero_shot alone.
        formats: of each benchmark.
        strategies: of each that is on, its settings.
    Raises:
        BuildError: names the protocol and what it knows.
    """
    for name in names:
        if not (known := PUBLISHED.get(name)):
            continue
        for benchmark, form in sorted(formats.items()):
            if form not in known.formats:
                raise BuildError(
                    f"params.yaml: evaluate: the protocol {name} knows prompts of the formats {', '.join(known.formats)}, and"
                    f" benchmark.{benchmark} is of {form}; name another protocol, or leave the benchmark out"
                )
    if not (headline := PUBLISHED.get(names[0])):
        return
    able = ("zero_shot", *(SHOWING if headline.shows else ()))
    for strategy in strategies:
        if strategy not in able:
            raise BuildError(
                f"params.yaml: strategies.{strategy}: the protocol {names[0]} has prompts of its own, for"
                f" {', '.join(able)}; set it to null, or name {names[0]} under evaluate.compared"
            )
