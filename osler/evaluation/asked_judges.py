"""Judges at work: each is loaded, or reached, for what it has not said yet."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import read_json
from osler.build.section import BuildError
from osler.evaluation.judgements import Known, ask_local, ask_served, frame_of, request_id, requests_of
from osler.evaluation.judges import Judge
from osler.inference.interface import Model
from osler.model.numerics import Numerics
from osler.privacy.screened_files import screened_by

NOTES = Path("scratch/judgements")  # below the folder the build runs in


def refuse_leaving(name: str, judge: Judge, tasks: Mapping[str, str], screened: Mapping[str, str]) -> None:
    """No text of a file that a source screens leaves this machine.

    It may where the source says so.

    Args:
        name: of the judge.
        judge: its section.
        tasks: paths of all tasks by name.
        screened: paths of sources that screen for identifiers and do not say `judged_elsewhere`, by name.
    Raises:
        BuildError: one would; names task and source.
    """
    for task in judge.tasks if judge.address is not None else ():
        if source := screened_by(tasks[task], screened):
            raise BuildError(
                f"params.yaml: judge.{name}.tasks: {task}: its texts would be sent to an address, and source.{source} screens the"
                f" same file for identifiers; judge it here, or set source.{source}.phi.judged_elsewhere to true"
            )


def identity_of(judge: Judge, folder: Path, chat_template: str, numerics: Numerics) -> dict[str, Any]:
    """What says which judge answers, and how.

    It is a part of the id of each answer.

    Args:
        judge: its section.
        folder: with its files and judge.json; not read where it has an address.
        chat_template: the build's, which its base is asked with.
        numerics: how a model that runs here computes.
    """
    if judge.address is not None:
        served = {"served_model": judge.served_model, "limit_tokens": judge.limit_tokens}
        return served | ({"own_temperature": True} if judge.own_temperature else {})
    identity: dict[str, Any] = {
        "files": read_json(folder / "judge.json")["files"],
        "numerics": numerics.model_dump(mode="json"),
    }
    identity |= {"chat_template": chat_template} if judge.origin else {}
    identity |= {"vllm": judge.vllm} if judge.vllm else {}
    return identity | ({"limit_tokens": judge.limit_tokens} if judge.reading == "written" else {})


@contextmanager
def local_model(judge: Judge, folder: Path, chat_template: str, numerics: Numerics) -> Iterator[Model]:
    """A judge of its own folder, loaded while it is asked.

    It is asked with its own chat template, and the build's base with the build's.

    Raises:
        BuildError: it has none, or vLLM is not there.
    """
    from osler.inference.backend import Backend
    from osler.inference.language_model import LanguageModel, loaded_tokenizer
    from osler.inference.torch_backend import TorchBackend, frozen_model
    from osler.inference.vllm_backend import VllmBackend, installed
    from osler.tokens.marks import end_ids

    backend: Backend
    if judge.vllm:
        installed(judge.vllm, "judge.*.vllm")
        backend = VllmBackend(folder, numerics)
    else:
        backend = TorchBackend(frozen_model(folder, numerics), judge.batch_tokens)
    with closing(backend):
        tokenizer = loaded_tokenizer(folder, chat_template if judge.origin else None)
        yield LanguageModel(backend, tokenizer, backend, end_ids(folder, tokenizer))


def judged(
    name: str,
    judge: Judge,
    folder: Path,
    items: Mapping[str, pl.DataFrame],
    written: pl.DataFrame,
    chat_template: str,
    numerics: Numerics,
) -> pl.DataFrame:
    """All judgements of one judge, as `frame_of` has them.

    Args:
        name, judge: its name and section.
        folder: with its files.
        items, written: see `requests_of`.
        chat_template: the build's.
        numerics: see `identity_of`.
    Raises:
        BuildError: see `requests_of`, `local_model`, `address_of` and `ServedModel.texts`.
    """
    requests = requests_of(name, judge, items, written)
    identity = identity_of(judge, folder, chat_template, numerics)
    ids = [None if each.prompt is None else request_id(identity, each.prompt) for each in requests]
    known = Known(NOTES / f"{name}.jsonl")
    wanted = {
        own: request.prompt
        for own, request in zip(ids, requests, strict=True)
        if own is not None and request.prompt is not None and known.get(own) is None
    }
    reused = len({own for own in ids if own is not None}) - len(wanted)
    print(f"judge {name}: {len(wanted):,} judgements asked, {reused:,} known", flush=True)
    if wanted and judge.address is not None:
        from osler.inference.served_model import ServedModel, address_of

        try:
            address = address_of(judge.address, judge.served_model or "", judge.key)
            ask_served(
                ServedModel(address, judge.jobs, own_temperature=judge.own_temperature), wanted, judge, known.keep
            )
        except BuildError as error:
            raise BuildError(f"params.yaml: judge.{name}.address: {error}") from error
    elif wanted:
        with local_model(judge, folder, chat_template, numerics) as model:
            ask_local(model, wanted, judge, known.keep)
    return frame_of(requests, ids, known)
