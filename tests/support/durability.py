"""What a power cut would leave: which files and names were on the disk when something got its name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def power_may_fail(folder: Path) -> Iterator[list[str]]:
    """Within, a name that is given below `folder` must stand for what is synced, and be synced itself by the end.

    Names that begin with a dot are temporary: what has one may be lost.

    Yields:
        Names given, by path relative to `folder`.
    """
    on_disk: dict[Path, tuple[int, int]] = {}
    pending: set[Path] = set()
    named: list[str] = []
    patch = pytest.MonkeyPatch()

    def facts(path: Path) -> tuple[int, int]:
        return path.stat().st_mtime_ns, path.stat().st_size

    def sync(descriptor: int, original: Any = os.fsync) -> None:
        original(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        on_disk[path] = facts(path)
        pending.discard(path)

    def give(original: Any) -> Any:
        def given(old: Any, new: Any, **rest: Any) -> None:
            source, target = Path(old).resolve(), Path(new).resolve()
            lasting = target.is_relative_to(folder) and not any(
                part.startswith(".") for part in target.relative_to(folder).parts
            )
            below = [source, *source.rglob("*")]
            if lasting:
                lost = [path for path in below if on_disk.get(path) != facts(path)]
                assert not lost, f"{target.name} stands for what may be lost: {lost}"
                named.append(target.relative_to(folder).as_posix())
                pending.add(target.parent)
            moved = {target / path.relative_to(source): on_disk[path] for path in below if path in on_disk}
            original(old, new, **rest)
            on_disk.update(moved)

        return given

    patch.setattr(os, "fsync", sync)
    for name in ("rename", "replace"):
        patch.setattr(os, name, give(getattr(os, name)))
    try:
        yield named
    finally:
        patch.undo()
    assert not pending, f"names in {pending} may be lost"
