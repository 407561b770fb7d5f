"""Model cards as Hugging Face has them.

YAML front matter is for machines. What a model is made of and what it can do follows.

A card is about the files whose hash it states; `osler export` refuses to put it beside others. The license of the weights
is for whoever publishes them to choose, so the card says `other` and lists the licenses of the texts.
Source: Mitchell et al. 2019, Model Cards for Model Reporting, arXiv 1810.03993; the Hub's documentation of the fields.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from osler.report.cells import bits, percent
from osler.report.corpus_sections import learned, privacy_blocks
from osler.report.findings import Findings
from osler.report.model_index import model_index
from osler.report.page import Block, Code, Heading, Items, Paragraph, Table, Text, markdown
from osler.report.sections import Records

LIBRARIES = {None: "transformers", "gated_residual": "osler"}  # by an adapter's method, what loads it; of others peft


def lineage(ledger: Sequence[Mapping[str, Any]]) -> list[str]:
    """The training runs behind a model, first to last.

    They are read from its token ledger.
    """
    return list(dict.fromkeys(row["run"] for row in ledger))


def decisions(provenance: Mapping[str, Any]) -> list[Text]:
    """What was decided as the last run trained.

    And which of its steps learned nothing. Most models have no such thing.
    """
    told: list[Text] = []
    for one in provenance.get("amendments", ()):
        if "skip_steps" in one:
            told.append(
                f"Decided as it trained: steps {one['skip_steps'][0]:,} to {one['skip_steps'][1]:,} were left out."
            )
        else:
            rate = f"{one['learning_rate']:g} from step {one['from_step']:,} on"
            told.append(f"Decided as it trained: a peak learning rate of {rate}.")
    if skipped := provenance.get("skipped_steps"):
        steps = ", ".join(f"{entry['step']:,}" for entry in skipped)
        told.append(f"Steps whose loss or gradient was not finite changed nothing: {steps}.")
    if tokens := sum(row["tokens"] for row in provenance.get("token_ledger", ()) if row.get("skipped")):
        told.append(
            f"{tokens:,} tokens of such steps, of all its runs, were read and not learned; they are not counted below."
        )
    return told


def front_matter(name: str, found: Findings, records: Records) -> dict[str, Any]:
    """What the Hub reads of a card."""
    base = records.models.get("base", {}).get("provenance", {}).get("repository")
    named = {"base_model": base} if base else {}
    settings = records.models[name]["provenance"].get("settings", {})
    method = settings.get("adapter", {}).get("method")
    return {
        "language": ["en"],
        "license": "other",
        "license_name": "see-the-licenses-of-the-texts-below",
        "library_name": LIBRARIES.get(method, "peft"),
        "pipeline_tag": "text-generation",
        **named,
        "tags": [
            "medical",
            "clinical",
            "continued-pretraining",
            *(["instruct"] if name.endswith(("-sft", "-neftune")) or name.startswith("adapter-") else []),
        ],
        "model-index": model_index(name, found),
    }


def read_table(ledger: Sequence[Mapping[str, Any]]) -> Table:
    """Tokens by run, source and license.

    The table also says how many epochs they are of.
    """
    tokens: dict[tuple[str, str, str], list[int]] = {}
    for row in ledger:
        total = tokens.setdefault((row["run"], row["source"], row["license"]), [0, 0])
        total[0] += row["tokens"]
        total[1] = max(total[1], row["epoch"])
    order = lineage(ledger)
    rows: list[list[Text]] = [
        [Code(run), source, license, f"{read:,}", f"{epochs}"]
        for (run, source, license), (read, epochs) in sorted(
            tokens.items(), key=lambda item: (order.index(item[0][0]), item[0])
        )
    ]
    return Table(["run", "source", "license", "tokens", "epochs begun"], rows, text_columns=3)


def results_table(name: str, found: Findings) -> Table:
    """Strategies by benchmarks in percent, and what guessing gives."""
    benchmarks = sorted(found.chance)
    rows: list[list[Text]] = [
        [
            strategy,
            *(
                percent(found.cells[benchmark, strategy, name].share)
                if (benchmark, strategy, name) in found.cells
                else ""
                for benchmark in benchmarks
            ),
        ]
        for strategy in found.strategies
        if (strategy, name) in found.means
    ]
    return Table(
        ["strategy", *benchmarks], [*rows, ["guessing", *(f"{100 * found.chance[own]:.1f}" for own in benchmarks)]]
    )


def seeds_sentence(name: str, found: Findings) -> str:
    """Whether intervals cover training seeds: those of which strategies."""
    counts = {strategy: len(shares) for (strategy, model), shares in found.seed_shares.items() if model == name}
    several = [f"{strategy} ({counts[strategy]})" for strategy in found.strategies if counts.get(strategy, 1) > 1]
    if not several:
        return "Intervals do not cover training seeds."
    others = "" if len(several) == len(counts) else "; the others are of one seed"
    return f"Means over training seeds, which the intervals cover too: {', '.join(several)}{others}."


def license_lines(ledger: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Licenses of the texts that were read.

    Each comes with its share of the tokens.
    """
    tokens = Counter[str]()
    for row in ledger:
        tokens[row["license"]] += row["tokens"]
    return [
        f"{license}: {count:,} tokens, {100 * count / tokens.total():.1f} %"
        for license, count in sorted(tokens.items())
    ]


def weights_line(records: Records) -> Text:
    """What holds for the weights themselves."""
    if start := brought(records):
        return ("The license of ", Code(start), " holds for the weights too: look it up before you publish them.")
    return "The weights come with no license of their own: who publishes them chooses one."


def left_out(corpus: Mapping[str, Any]) -> list[str]:
    """How many documents were withdrawn or retracted before training."""
    dropped = sum((Counter[str](own["dropped"]) for own in corpus["sources"]), Counter[str]())
    counts = [f"{dropped[reason]:,} {words}" for reason, words in LEFT_OUT.items() if dropped[reason]]
    return [f"Left out before training: {', '.join(counts)}."] if counts else []


LEFT_OUT = {"withdrawn": "withdrawn documents", "retracted": "retracted ones", "withdrawn_twin": "near copies of these"}
LIMITS: list[Text] = [
    "For research on how clinical language models are made and measured.",
    "Not for clinical use: not for diagnosis, treatment, triage or advice to patients. It was not tested for that,"
    " its answers can be wrong and sound sure, and multiple-choice accuracy does not show that it is safe.",
    "The text is English. What the sources do not hold, it does not know; their errors and biases it may repeat.",
]


def brought(records: Records) -> str:
    """What the base was that no stage trained, as one word.

    A repository at its commit, or a file of a package; empty where the build made its base.
    """
    made = records.models.get("base", {}).get("provenance", {})
    if "package" in made:
        return f"{made['package']} {made['version']}: {made['file']}"
    return f"{made['repository']}@{made['revision']}" if "repository" in made else ""


def model_facts(name: str, records: Records) -> list[Text]:
    """What the model is and what it starts from.

    The training runs behind it follow.
    """
    provenance = records.models[name]["provenance"]
    runs = lineage(provenance.get("token_ledger", []))
    settings = provenance.get("settings", {})
    config = settings.get("config", {})
    facts: list[Text] = []
    if "parameters" in provenance:
        kind = str(config.get("model_type", "")).capitalize() or "model"
        facts.append(f"A {kind} of {provenance['parameters']:,} parameters, {config.get('num_hidden_layers')} layers.")
    if adapter := settings.get("adapter"):
        count = provenance["trained_parameters"]
        facts.append((f"An adapter ({adapter['method']}) of {count:,} of these, on ", Code(adapter["from"]), "."))
    if start := brought(records):
        facts.append(("Starts from " if runs else "It is ", Code(start), "."))
    if runs or not start:
        listed = (word for run in runs or [name] for word in (" ", Code(run)))
        facts.append(("Training runs behind it, in their order:", *listed, "."))
    if "seed" in settings:
        facts.append(
            f"Seed {settings['seed']}; {provenance['steps']:,} steps in the last run, {provenance['tokens']:,} tokens."
        )
    return facts + decisions(provenance)


def card(name: str, found: Findings, records: Records) -> str:
    """The card of one model, as Markdown with front matter.

    Args:
        name: of the model's folder.
        found: results of the build.
        records: what it was made from.
    """
    own = records.models[name]
    provenance = own["provenance"]
    ledger = learned(provenance.get("token_ledger", []))
    losses: list[Text] = [
        f"{domain}: {bits(ratio)} bits per byte of held-out documents"
        for (domain, model), ratio in found.losses.items()
        if model == name
    ]
    touched = sum(found.touched.values())
    screened = records.phi["sources"]
    blocks: list[Block] = [
        Heading(1, name),
        Items(model_facts(name, records)),
        Heading(2, "Intended use and limits"),
        Items(LIMITS),
        Heading(2, "Results"),
        Paragraph(
            (
                "Percent of items answered correctly, read by the protocol ",
                Code(found.protocol),
                f", with {100 * found.confidence:g} % intervals over items. {seeds_sentence(name, found)}",
            )
        ),
        results_table(name, found),
        *([Items(losses)] if losses else []),
        Heading(2, "What it was trained on"),
        *([read_table(ledger)] if ledger else [Paragraph("Nothing in this build: it was taken as it is.")]),
        *[Paragraph(sentence) for sentence in left_out(records.corpus)],
        Heading(2, "Contamination"),
        Paragraph(
            f"{records.contamination['documents_dropped']:,} documents with benchmark items were dropped before training;"
            + (f" {touched:,} benchmark items that were asked still share a run of words with a kept document." if touched else
            " no benchmark item that was asked shares a run of words with a kept document.")
        ),
        Heading(2, "Privacy"),
        *privacy_blocks(records.phi),
        *([Paragraph("Whoever publishes this model answers for what the screening missed.")] if screened else []),
        Heading(2, "Licenses of the texts"),
        Items([*license_lines(ledger), weights_line(records)]),
        Heading(2, "Provenance"),
        Paragraph(
            ("The hash of the model's files is ", Code(own["files"]), " (blake2b-128 over names and bytes, without this card).")
        ),
        Items(
            [
                *((f"{what}: ", Code(digest)) for what, digest in sorted(provenance.get("inputs", {}).items())),
                ("Packages, settings and the token ledger stand in ", Code("provenance.json"), "."),
            ]
        ),
    ]  # fmt: skip
    head = yaml.safe_dump(front_matter(name, found, records), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{markdown(blocks)}"
