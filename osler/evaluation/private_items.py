"""Items of a task whose file a source screens for identifiers: who they are about is hidden.

Their texts are asked as they stand, but ids, groups and file names go into ledgers and predictions, and may be record numbers or
names. So they get pseudonyms, as documents do (osler/privacy/pseudonyms.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from osler.build.files import file_hash, folder_hash
from osler.ingest.source import Source
from osler.privacy.keys import secret
from osler.privacy.pseudonyms import private_origin, pseudonym
from osler.privacy.screened_files import screened_by


@dataclass(frozen=True)
class Hidden:
    """What stands for ids, groups and places, under a key."""

    key: bytes

    def names(self, texts: Mapping[str, str], id_field: str | None, group_field: str | None) -> dict[str, str]:
        """The `id` and `group` of an item.

        The same text gives the same name.

        Args:
            texts: with both, as the row has them.
            id_field: where the id stands; None: it is `<file>#<row>`, of which the row stays.
            group_field: where the group stands; None: each item is one.
        """
        origin = texts["id"]
        own = private_origin(self.key, origin) if id_field is None else pseudonym(self.key, origin)
        return {"id": own, "group": own if group_field is None else pseudonym(self.key, texts["group"])}


def hidden(raw: Path, path: str, source: Mapping[str, Source]) -> Hidden | None:
    """How a task's items are hidden, if they are.

    None: no source screens the file.

    The key is that of the source, else what only holders of the files know.

    Args:
        raw: the task's file or folder.
        path: the same as in params, relative to `root`.
        source: all sources.
    Raises:
        BuildError: the key cannot be read.
    """
    name = screened_by(path, {name: own.path for name, own in source.items() if own.phi})
    phi = source[name].phi if name else None
    if name is None or phi is None:
        return None
    return Hidden(secret(phi, name) or bytes.fromhex(folder_hash(raw) if raw.is_dir() else file_hash(raw)))
