"""Damage as disks do it: one bit, and neither size nor time says so."""

import os
from pathlib import Path


def flip(path: Path, bit: int) -> None:
    """Change bit number `bit` of a file, in place, also of one that is read-only."""
    facts = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    with path.open("r+b") as stream:
        stream.write(content)
    path.chmod(facts.st_mode & 0o777)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
