"""`osler export`: a model as a standard Hugging Face folder.

Its card becomes README.md. The files are copies, so that nothing done to them reaches DVC's cache. The optimizer of a trunk
stays behind. They must be the files that were built, and the card about these very files, told by their hash: 0.7 GB/s.

What ends an answer stands in generation_config.json, so that whoever loads the folder stops where evaluation did: the base's own
ends, the tokenizer's, and the mark of the chat template.

What is trained is kept in float32. Where the base came in bfloat16, and where it is asked for, the weights are handed on in
bfloat16: half the bytes, and what the build measured was measured before they were rounded; card and provenance say so.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from osler.build.artifacts import Artifacts
from osler.build.files import read_json, write_json, write_text
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.recorded import check_deps
from osler.build.section import BuildError
from osler.build.validation import PARAMS, suggestion
from osler.model.cast import Stored, stored_dtype, write_cast
from osler.model.seeds import model_hash, own_files

TEMPLATE = "chat_template.jinja"
BEGIN = (
    "{{{{ {mark} }}}}{{# which the tokenizer writes before a text #}}\n"  # Jinja drops the line feed behind a comment
)
CONFIG = "adapter_config.json"
LEFT_OUT = ("optimizer.safetensors",)
ROUNDED = """
## Precision

The weights in this folder are those of the build, cast to {dtype} (`osler export --dtype {dtype}`). All results above are of the
build's own weights, whose hash is above.
"""


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` in the end.

    It does whole or not at all.

    Raises:
        BuildError: `folder` is there and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BuildError(f"{folder}: is there and not an empty folder; name a new one")
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_export(
    model: Path, card: Path, folder: Path, dtype: Stored | None = None, about: Path | None = None
) -> list[str]:
    """Copy `model` with `card` to `folder`, whole or not at all.

    With `dtype` the weights are cast; None leaves them as stored. The card is about the files in `about`, or about these. It
    returns the names of the files.

    Raises:
        BuildError: `folder` is there and not empty, or the card is about other files.
    """
    if not card.is_file() or model_hash(about or model) not in card.read_text(encoding="utf-8"):
        raise BuildError(f"results/cards/{card.name}: no card of these files; run `dvc repro report`")
    with new_folder(folder) as temporary:
        for file in own_files(model):
            if file.name not in LEFT_OUT and not (dtype and file.suffix == ".safetensors"):
                target = temporary / file.relative_to(model)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        shutil.copyfile(card, temporary / "README.md")
        name_ends(temporary)
        write_begin(temporary)
        if dtype:
            cast_export(model, temporary, dtype)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def name_ends(folder: Path) -> None:
    """Have generation_config.json name each token that ends an answer.

    Of a whole model with a chat template. A file that names them all stays as it is.
    """
    path = folder / "generation_config.json"
    if not (path.is_file() and (folder / TEMPLATE).is_file()):
        return
    from osler.inference.language_model import loaded_tokenizer
    from osler.tokens.marks import end_ids

    ends = list(end_ids(folder, loaded_tokenizer(folder)))
    config = read_json(path)
    named = config.get("eos_token_id")
    if sorted(named if isinstance(named, list) else [named] * (named is not None)) != ends:
        write_json(path, config | {"eos_token_id": ends})


def write_begin(folder: Path) -> None:
    """Have the chat template write BOS itself.

    Only where the tokenizer writes one before a text, and the template does not.
    """
    path = folder / TEMPLATE
    if not path.is_file():
        return
    from osler.inference.language_model import loaded_tokenizer
    from osler.tokens.marks import marks_of

    tokenizer = loaded_tokenizer(folder)
    bos = marks_of(tokenizer).bos
    written = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    if bos is not None and tokenizer(written, add_special_tokens=False)["input_ids"][:1] != [bos]:
        mark = json.dumps(tokenizer.convert_ids_to_tokens(bos), ensure_ascii=False)
        write_text(path, BEGIN.format(mark=mark) + path.read_text(encoding="utf-8"))


def cast_export(model: Path, folder: Path, dtype: Stored) -> None:
    """Write the weights of `model` to `folder` as `dtype`.

    Card and provenance there say so.
    """
    write_cast(
        [file for file in own_files(model) if file.suffix == ".safetensors" and file.name not in LEFT_OUT],
        folder,
        dtype,
    )
    if (folder / "provenance.json").is_file():
        write_json(folder / "provenance.json", read_json(folder / "provenance.json") | {"exported_dtype": dtype})
    with (folder / "README.md").open("a", encoding="utf-8") as stream:
        stream.write(ROUNDED.format(dtype=dtype))


def dtype_to_export(model: Path, base: Path | None, asked: Stored | None) -> Stored | None:
    """What the weights are cast to.

    It is what is asked for, else bfloat16 where the base came so. It is None where they are stored so already.
    """
    wanted = asked or ("bfloat16" if base and stored_dtype(base) == "bfloat16" else None)
    return None if wanted == stored_dtype(model) else wanted


def write_merged(adapter: Path, start: Path, card: Path, folder: Path, dtype: Stored | None = None) -> list[str]:
    """Write the model `start` with an adapter in its weights to `folder`.

    The card is the adapter's. It returns the names of the files.

    Raises:
        BuildError: as `write_export`, or the adapter cannot be merged.
    """
    from osler.inference.torch_backend import frozen_model
    from osler.model.adapters import is_mergeable, written_method
    from osler.model.folder import provenance_of, write_model
    from osler.model.numerics import Numerics

    if not is_mergeable(adapter):
        raise BuildError(
            f"{adapter.name}: what {written_method(adapter)} adds cannot be merged into weights; export it without --merge"
        )
    numerics = Numerics(portable=False, threads=1, dtype="float32", attention="sdpa", compile=False, liger=False)
    with TemporaryDirectory() as temporary:
        whole = Path(temporary) / adapter.name
        provenance = provenance_of(adapter) | {"merged_into": provenance_of(adapter)["settings"]["adapter"]["from"]}
        write_model(frozen_model(start, numerics, adapter).cpu(), adapter, whole, provenance)
        if (adapter / TEMPLATE).is_file():
            shutil.copyfile(adapter / TEMPLATE, whole / TEMPLATE)
        return write_export(whole, card, folder, dtype, about=adapter)


def say(name: str, folder: Path, dtype: Stored | None = None, merge: bool = False) -> None:
    """Export the model `name`, and say what was written.

    Raises:
        BuildError: no such model was built here, or `folder` cannot be written.
    """
    artifacts = Artifacts(ROOT, declarations(ROOT, read_params(ROOT / PARAMS)))
    models = artifacts.models()
    if name not in models:
        meant = suggestion(name, [*models, "results"])
        raise BuildError(
            f"{name}: no model that was built here{meant}; there are {', '.join(models) or 'none'}, and `results`"
        )
    cards = artifacts.path("report", "cards")
    model, _ = models[name]
    below = ROOT / read_json(model / CONFIG)["base_model_name_or_path"] if (model / CONFIG).is_file() else None
    if merge and not below:
        raise BuildError(f"{name}: a whole model, in which is nothing to merge; export it without --merge")
    check_deps(ROOT, [artifacts.shown(path) for path in (model, below) if path], artifacts.stages.keys())
    try:
        base, card = models.get("base"), cards / f"{name}.md"
        whole = below if merge and below else model
        # an adapter's few weights are kept as they were trained
        cast = None if below and not merge else dtype_to_export(whole, base[0] if base else None, dtype)
        written = (
            write_merged(model, below, card, folder, cast)
            if merge and below
            else write_export(model, card, folder, cast)
        )
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written: {error.strerror}; name another folder") from None
    print(f"{folder}: {', '.join(written)}" + (f"; weights in {cast}" if cast else ""))
