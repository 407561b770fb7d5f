"""Write the parts of README.md that are generated: the picture of the DAG and the results of the default build.

    python -m stages.readme

Each part stands between `<!-- name -->` and `<!-- /name -->`. The tests compare both with dvc.yaml and with the metrics in
HEAD, so a README that is not up to date does not pass.
"""

import re
import subprocess
import sys

from stages.lib.files import write_text
from stages.lib.stage import ROOT


def collapsed(mermaid: str) -> str:
    """The graph of `dvc dag --mermaid` with the instances of a stage (`ingest@notes`, `ingest@towns`) as one node."""
    names = dict(re.findall(r'^\s*(\w+)\["(.+?)"\]', mermaid, re.M))
    stage = {node: name.partition("@")[0] for node, name in names.items()}
    several = {name.partition("@")[0] for name in names.values() if "@" in name}
    edges = {(stage[a], stage[b]) for a, b in re.findall(r"^\s*(\w+)-->(\w+)", mermaid, re.M)}
    edges = {(a, b) for a, b in edges if a != b and a != "code"}  # every stage depends on its own code
    lines = [
        f'    {name}["{name}{"@..." if name in several else ""}"]' for name in sorted(set(stage.values()) - {"code"})
    ]
    return "\n".join(["flowchart TD", *lines, *(f"    {a} --> {b}" for a, b in sorted(edges))])


def dag() -> str:
    """The DAG as a Mermaid block, from `dvc dag`."""
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return f"```mermaid\n{collapsed(printed)}\n```"


EXCERPT = ("Accuracy", "Claims", "Bits per byte", "Contamination")  # sections of the report that the README shows


def results(report: str) -> str:
    """The sections of `EXCERPT` from a report.md in its order, one heading level down, figures left out."""
    if missing := [name for name in EXCERPT if f"\n## {name}\n" not in report]:
        raise ValueError(f"report.md has no section {', '.join(missing)}")
    parts = re.split(r"^(?=## )", report, flags=re.M)
    text = "".join(part for part in parts if part.partition("\n")[0].removeprefix("## ") in EXCERPT)
    text = re.sub(r"^!\[.*\n+", "", text, flags=re.M)
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.M).strip()


def filled(readme: str, name: str, content: str) -> str:
    """`readme` with the part `name` replaced; the markers must be there once."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    if len(pattern.findall(readme)) != 1:
        raise ValueError(f"README.md: needs <!-- {name} --> and <!-- /{name} --> once")
    return pattern.sub(lambda found: found.group(1) + content + "\n" + found.group(2), readme)


def main() -> None:
    """Rewrite both parts from dvc.yaml and metrics/report.md."""
    path = ROOT / "README.md"
    text = filled(path.read_text(encoding="utf-8"), "dag", dag())
    write_text(path, filled(text, "results", results((ROOT / "metrics/report.md").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
