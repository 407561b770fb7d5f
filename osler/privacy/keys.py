"""The key of surrogates and pseudonyms, a file outside the repository."""

from pathlib import Path

from osler.build.section import BuildError
from osler.privacy.screening import Phi, key_id


def secret(phi: Phi, name: str) -> bytes:
    """The key of a source's surrogates and pseudonyms.

    Empty where `key_file` is null.

    Raises:
        BuildError: the file cannot be read, is too short, or is not the one that `key_id` tells.
    """
    if phi.key_file is None:
        return b""
    try:
        key = Path(phi.key_file).read_bytes()
    except OSError as error:
        raise BuildError(
            f"params.yaml: source.{name}.phi.key_file: {error.strerror}: {phi.key_file}; make one with"
            " `head -c 32 /dev/urandom`, outside the repository"
        ) from None
    if len(key) < 16:
        raise BuildError(f"params.yaml: source.{name}.phi.key_file: {phi.key_file} has {len(key)} bytes, 16 are needed")
    if key_id(key) != phi.key_id:
        raise BuildError(f"params.yaml: source.{name}.phi.key_id: the key in {phi.key_file} has the id {key_id(key)}")
    return key
