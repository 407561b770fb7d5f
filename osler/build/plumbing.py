"""Which modules do not count in a stage's fingerprint, and why."""

EXEMPT = {
    "osler/build/bounded.py": "runs what it is given under limits, and hands on what that returns or raises",
    "osler/build/cluster.py": "runs what it is given on other machines, and hands on the path that it returns",
    "osler/model/devices.py": "what accelerators can do at most, for the MFU that is shown",
    "osler/build/fingerprint.py": "names the code that runs, for keys and for the record; a new list here reruns nothing",
    "osler/training/launch.py": "on which processes a training runs; no stage declares `launch`, so that it triggers no rebuild",
    "osler/build/lock.py": "lets one process build a stage at a time",
    "osler/build/progress.py": "shows how far a step is, and yields what it is given",
    "osler/build/pipeline.py": "reads what dvc.yaml and params.yaml say",
    "osler/build/recorded.py": "refuses files that are not those that were built",
    "osler/build/dvc_state.py": "where DVC keeps what it knows of files",
    "osler/build/plumbing.py": "this list",
    "osler/build/shortages.py": "says what of the machine ran out, when nothing goes on",
    "osler/build/slurm.py": "has a job do what a stage's command says, and waits for it",
    "osler/build/submission.py": "how a job is submitted; no stage declares `launch`",
    "osler/build/stage.py": "hands a stage what dvc.yaml and params.yaml say, or refuses it",
    "osler/training/agent.py": "starts trainers as torchrun does",
    "osler/training/heartbeat.py": "ends a process where others are gone",
    "osler/training/stopping.py": "ends a run between two steps; a checkpoint holds all that the next one needs",
    "osler/training/tracker.py": "shows a run elsewhere as it trains",
    "osler/model/throughput.py": "operations of a training step, for the MFU that is shown",
}
"""Plumbing, which cannot change a result, and why: of these modules only the names that are imported count."""
