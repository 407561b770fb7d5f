"""Stage `code`: write one fingerprint for each stage, so that an edit reruns the stages that run it and no others.

Data and evaluation stages also depend on the versions of the packages they import; training stages do not, since a
security update must not discard a month of training: their models record the versions instead. Under a second.
"""

from pathlib import Path

from stages.lib.files import write_text
from stages.lib.fingerprint import fingerprint
from stages.lib.section import BuildError
from stages.lib.stage import run

COMMANDS = (
    "ablation",
    "compare",
    "export",
    "launch",
    "plan",
    "profile",
    "readme",
    "show",
    "trace",
)  # modules of stages/ that are typed by people, not run by DVC
TRAINING = ("pretrain", "cpt", "trunk", "anneal", "sft", "neftune")


def stage_modules(root: Path) -> dict[str, Path]:
    """Stage name -> module, for every module directly in stages/ except the commands and `code` itself."""
    skipped = {*COMMANDS, "__init__", "code"}
    return {path.stem: path for path in sorted((root / "stages").glob("*.py")) if path.stem not in skipped}


def main(raw: tuple[Path, ...], fingerprints: tuple[Path, ...]) -> None:
    """Write `build/<stage>.fp` for every stage; the modules and the declared fingerprints must be the same set."""
    root = next(path for path in raw if path.name == "stages").parent
    modules = stage_modules(root)
    declared = {path.stem: path for path in fingerprints}
    if modules.keys() != declared.keys():
        raise BuildError(
            f"dvc.yaml: code: outs and modules differ: {', '.join(sorted(modules.keys() ^ declared.keys()))};"
            " every module in stages/ has its build/<name>.fp there, or is listed in COMMANDS"
        )
    for name, module in modules.items():
        write_text(declared[name], fingerprint(module, root, with_packages=name not in TRAINING))


if __name__ == "__main__":
    run(main)
