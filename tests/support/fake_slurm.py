"""sbatch, squeue and sacct of a SLURM that is a folder of text files, for tests of who calls them."""

import sys
from pathlib import Path

COMMAND = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
options = dict(one[2:].partition("=")[::2] for one in arguments)
jobs = json.loads((folder / "jobs.json").read_text())
(folder / "calls").open("a").write(json.dumps([name, *arguments]) + chr(10))
if (folder / "down").exists() and name != "sbatch":
    sys.exit("slurm_load_jobs error: Unable to contact slurm controller")
if name == "sbatch":
    if (folder / "refuse").exists():
        sys.exit("sbatch: error: invalid partition specified: " + options.get("partition", ""))
    number = str(len(jobs) + 1)
    jobs[number] = dict(options, script=sys.stdin.read(), states=json.loads((folder / "plan.json").read_text()))
    print(number + ";cluster")
elif name == "squeue" and "name" in options:
    for number, job in jobs.items():
        state = (job["states"] or [["COMPLETED", "", 0]])[0][0]
        if job["job-name"] == options["name"] and state != "COMPLETED":
            print(number, state, job["comment"], sep="|")
elif name == "squeue":
    job = jobs.get(options["jobs"])
    if not job or not job["states"]:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    state, nodes, code, *line = job["states"].pop(0) if len(job["states"]) > 1 else job["states"][0]
    for one in line:
        pathlib.Path(job["output"]).open("a").write(one + chr(10))
    print(state.ljust(30), str(code << 8).ljust(20), nodes)
elif name == "sacct":
    print((folder / "sacct").read_text() if (folder / "sacct").exists() else "")
(folder / "jobs.json").write_text(json.dumps(jobs))
"""


def install(folder: Path) -> None:
    """Put the commands into `folder`/bin; what jobs go through stands in plan.json."""
    (folder / "bin").mkdir(parents=True)
    (folder / "jobs.json").write_text("{}")
    for name in ("sbatch", "squeue", "sacct"):
        path = folder / "bin" / name
        path.write_text(COMMAND.format(python=sys.executable, folder=str(folder)))
        path.chmod(0o755)
