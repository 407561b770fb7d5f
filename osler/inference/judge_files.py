"""Models that judge texts: of the Hub at one commit, of a folder with a digest, or the build's base.

Each is a folder of models/judges, with a `judge.json` that says what it is. A judge behind an address has no files, and no folder.
"""

from pathlib import Path

from osler.build.files import digest_of, file_hash, write_json
from osler.build.hub import ModelFiles
from osler.build.section import BuildError
from osler.inference.encoder_files import OWN, link_all, matching

FILES = (*OWN, "generation_config.json", "chat_template.jinja", "tokenizer.model", "vocab.json", "merges.txt")
"""What is read of a folder: no code, and weights as safetensors only."""


def folder_digest(folder: Path, key: str) -> tuple[list[str], str]:
    """The files that are read of a judge's folder, and their digest.

    Raises:
        BuildError: no model is there; names the key.
    """
    if not (folder / "config.json").is_file():
        raise BuildError(f"params.yaml: {key}.folder: {folder}: no config.json there; name the folder of a model")
    names = matching(folder, FILES, below=False)
    if not any(name.endswith(".safetensors") for name in names) or "tokenizer.json" not in names:
        raise BuildError(f"params.yaml: {key}.folder: {folder}: has no *.safetensors or no tokenizer.json")
    return names, digest_of(folder, [folder / name for name in names])


def take_judge(key: str, pin: ModelFiles | tuple[Path, str] | None, base: Path, folder: Path) -> None:
    """Fill `folder` with the files of a judge.

    Args:
        key: the params section, for messages.
        pin: of the Hub; or a folder and its digest; None: the build's base.
        base: the folder of the build's base.
        folder: out.
    Raises:
        BuildError: they cannot be fetched, are no model, or have another digest.
    """
    if isinstance(pin, ModelFiles):
        source = pin.fetched(key)
        names = matching(source, pin.files)
        facts: dict[str, object] = {"repository": pin.repository, "revision": pin.revision}
        if "tokenizer.json" not in names:
            raise BuildError(f"params.yaml: {key}.files: no tokenizer.json among the files taken")
    elif pin is None:
        source, names, facts = base, matching(base, FILES, below=False), {"from": "base"}
    else:
        source, wanted = pin
        names, digest = folder_digest(source, key)
        if digest != wanted:
            raise BuildError(
                f"params.yaml: {key}.digest: the files of {source} have {digest}, not {wanted}; is it the same model? If another"
                " is meant, write that"
            )
        facts = {"digest": digest}
    link_all(source, names, folder)
    write_json(folder / "judge.json", facts | {"files": {name: file_hash(source / name) for name in names}})
