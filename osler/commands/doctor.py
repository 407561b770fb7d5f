"""`osler doctor`: what this machine and its packages can do.

Nothing is changed, and nothing is sent. A line that starts with `!` names something that a build would stop at or be slow by.
About 5 s, most of it for importing torch and for `dvc doctor`.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from osler.build.packages import installed
from osler.build.pipeline import ROOT
from osler.build.portability import is_asked
from osler.build.validation import PARAMS
from osler.training.arithmetic import is_as_committed
from osler.training.checkpoint_folders import LEFT, run_folders

OPTIONAL = {  # distribution -> what it is for
    "bitsandbytes": "adapters by qlora: weights of 4 bits; `make qlora`",
    "flash-attn": "numerics.attention flash_attention_2, on NVIDIA GPUs",
    "liger-kernel": "numerics.liger: fused kernels on GPUs",
    "ray": "launch.cluster: data stages on several machines; `make ray`",
}
LOW_DISK = 20e9  # bytes; the default build takes about 1 GB, an environment 5


@dataclass(frozen=True)
class Finding:
    """One line of what was found.

    It says what was looked at, what is so, and whether it wants attention.
    """

    what: str
    state: str
    is_wrong: bool = False

    def __str__(self) -> str:
        return f"{'!' if self.is_wrong else ' '} {self.what + ':':<18}{self.state}"


def pinned(lock: str) -> dict[str, str]:
    """Distribution -> version, of the lines `name==version` of a lock file."""
    found = (re.match(r"([A-Za-z0-9._-]+)==(\S+)", line) for line in lock.splitlines())
    return {match[1]: match[2] for match in found if match}


def package_findings(lock: dict[str, str]) -> Iterator[Finding]:
    """Whether the environment is the lock's, and which optional packages are there."""
    other = [f"{name} {installed(name) or 'missing'}" for name, wanted in lock.items() if installed(name) != wanted]
    shown = ", ".join(other[:4]) + (f" and {len(other) - 4} more" if len(other) > 4 else "")
    yield Finding(
        "packages",
        f"{len(other)} of {len(lock)} not as in requirements.lock: {shown}; run `make setup`"
        if other
        else f"all {len(lock)} of requirements.lock",
        bool(other),
    )
    for name, purpose in OPTIONAL.items():
        yield Finding(name, f"{installed(name) or 'not installed'} ({purpose})")


def torch_findings() -> Iterator[Finding]:
    """The build of torch and the GPUs that it sees."""
    if not find_spec("torch"):
        yield Finding("torch", "not installed; run `make setup`", True)
        return
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    yield Finding("torch", f"{torch.__version__}, built for {build}")
    names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    cards = ", ".join(f"{card.name} {card.total_memory / 1e9:.0f} GB" for card in names)
    bf16 = " with bfloat16" if names and torch.cuda.is_bf16_supported() else ""
    yield Finding(
        "GPUs", f"{len(names)}: {cards}{bf16}" if names else "none; the default and the small profiles need none"
    )
    yield Finding(
        "threads", f"{torch.get_num_threads()} of torch, {len(os.sched_getaffinity(0))} cores for this process"
    )


def vllm_finding(root: Path) -> Finding:
    """The environment that `make vllm` makes."""
    python = root / ".venv-vllm/bin/python"
    if not python.is_file():
        return Finding("vLLM", "no .venv-vllm; `make vllm` makes it, DEVICE=cpu without a GPU")
    folders = sorted((root / ".venv-vllm").glob("lib/python*/site-packages/vllm*.dist-info"))
    if not folders:
        return Finding("vLLM", ".venv-vllm has none; run `make vllm` again", True)
    return Finding("vLLM", f"{folders[0].stem.replace('-', ' ')} in .venv-vllm")


def arithmetic_finding(root: Path) -> Finding:
    """Whether what is trained here has the committed bits."""
    if not is_asked(root / PARAMS):
        return Finding("arithmetic", "numerics.portable is off: results are this kind of machine's own")
    same = is_as_committed(root)
    return Finding(
        "arithmetic", "as committed" if same else "other bits than committed; commit your own build first", not same
    )


def disk_findings(root: Path) -> Iterator[Finding]:
    """Space, memory and how DVC links files."""
    free = shutil.disk_usage(root).free
    yield Finding("disk", f"{free / 1e9:,.0f} GB free here", free < LOW_DISK)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", f"{memory / 1e9:,.0f} GB")
    command = [sys.executable, "-m", "dvc", "doctor"]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout
    links = re.search(r"^Cache types: (?!<)(.*)$", said, re.M)  # in <> it is where to read why there are none
    remotes = re.search(r"^Remotes: (.*)$", said, re.M)
    kinds = f"links by {links[1]}" if links else "none yet, so how it links is not known"
    yield Finding("DVC cache", f"{kinds}; remotes: {remotes[1] if remotes and remotes[1] != 'None' else 'none'}")


def checkpoint_finding(root: Path) -> Finding:
    """What runs left in scratch/, and whether any goes on from it."""
    found = list(run_folders(root / "scratch"))
    left = [run for run in found if run.kind == LEFT]
    size, left_size = (sum(run.size for run in runs) / 1e9 for runs in (found, left))
    told = f"{len(found)} folders, {size:,.1f} GB" if found else "none of unfinished runs"
    if left:
        told += f"; {len(left)} of other params or inputs, {left_size:,.1f} GB: `osler clean` lists them"
    return Finding("checkpoints", told, bool(left))


def findings(root: Path) -> Iterator[Finding]:
    """All lines, the machine first."""
    yield Finding("Python", f"{platform.python_version()} in {sys.prefix}")
    yield Finding("machine", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield from torch_findings()
    yield arithmetic_finding(root)
    yield from disk_findings(root)
    yield checkpoint_finding(root)
    yield from package_findings(pinned((root / "requirements.lock").read_text(encoding="utf-8")))
    yield vllm_finding(root)
    yield Finding(
        "programs", ", ".join(f"{name} {'yes' if shutil.which(name) else 'no'}" for name in ("git", "nvcc", "srun"))
    )


def say(root: Path = ROOT) -> None:
    """Print what `findings` has."""
    for finding in findings(root):
        print(finding, flush=True)
