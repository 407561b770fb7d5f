"""SLURM's real daemons on this machine, two nodes, with all their files in one folder; as root, from Debian's slurm-wlm."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONF = """
ClusterName=osler
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=1,bf_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=20
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=2000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""


def missing() -> str:
    """Why SLURM cannot run here; empty where it can."""
    programs = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel")
    absent = [name for name in programs if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
    if absent:
        return f"no {absent[0]}; `apt-get install slurm-wlm munge`"
    return "" if os.geteuid() == 0 else "slurmd is root's"


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens at."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Two nodes n1 and n2; the environment in which SLURM's commands find them."""
    environment = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
    }
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=socket.gethostname(), ports=free_ports(3)))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    munge = [f"--{name}={folder}/munge.{end}" for name, end in (
        ("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))]  # fmt: skip
    daemons = [["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"]]
    daemons += [["slurmd", "-D", "-N", name] for name in ("n1", "n2")]
    running = []
    try:
        for number, command in enumerate(daemons):
            with (folder / f"daemon-{number}.out").open("wb") as output:
                running.append(
                    subprocess.Popen(
                        command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                    )
                )
            time.sleep(0.5)
        deadline = time.monotonic() + 60
        while (said := sinfo(environment)) != "idle idle":
            assert time.monotonic() < deadline, f"{said}\n{(folder / 'slurmctld.log').read_text()[-2000:]}"
            time.sleep(0.2)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in reversed(running):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def sinfo(environment: dict[str, str]) -> str:
    """The states of the nodes."""
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%T"], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return " ".join(done.stdout.split())
