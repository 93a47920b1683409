"""A one-node Slurm on this machine's loopback interface, under the user who runs the tests; it only writes to its folder.

Munge has its own key and socket, and the commands are wrapped to find this private configuration.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
CLIENTS = PROGRAMS[3:]
SYSTEM = "/usr/sbin:/sbin"  # where daemons lie, which is not on everybody's path
MEMORY = 40_000  # megabytes that the node says it has, wherever the tests run
CONFIGURATION = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Programs that a Slurm needs and that are not installed."""
    return [name for name in PROGRAMS if not find(name)]


def find(name):
    """Where a program is, or None."""
    return shutil.which(name, path=f"{os.environ['PATH']}:{SYSTEM}")


@contextmanager
def cluster(folder):
    """A running Slurm; yields the environment in which its commands find it.

    Raises
    ------
    RuntimeError
        When its node is not ready after a minute, with what its daemons have said.
    """
    write_configuration(folder)
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    with (folder / "daemons.log").open("w") as log:
        daemons = []
        try:
            for command in commands(folder):
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
                if "munged" in command[0]:
                    wait(lambda: (folder / "munge.socket").exists(), folder)
            wait(lambda: "idle" in ask(environment, "sinfo", "--noheader", "--format=%T"), folder)
            yield environment
            ask(environment, "scancel", "--user", str(os.getuid()))
            wait(lambda: not ask(environment, "squeue", "--noheader").strip(), folder)
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
            for daemon in daemons:
                daemon.wait()


def write_configuration(folder):
    """The files of a Slurm of its own, and its commands."""
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    controller, node = free_ports()
    settings = {"host": socket.gethostname().split(".")[0], "controller": controller, "node": node, "memory": MEMORY}
    text = CONFIGURATION.format(folder=folder, user=os.environ.get("USER") or "root", **settings)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    for name in CLIENTS:
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {find(name)} "$@"\n')
        wrapper.chmod(0o755)


def commands(folder):
    """What starts the daemons, none of which leaves the foreground."""
    files = {"--key-file": "munge.key", "--socket": "munge.socket", "--pid-file": "munge.pid"}
    files |= {"--log-file": "munge.log", "--seed-file": "munge.seed"}
    places = [f"{option}={folder / file}" for option, file in files.items()]
    yield [find("munged"), "--foreground", "--force", *places]
    for name in ("slurmctld", "slurmd"):
        yield [find(name), "-D", "-f", str(folder / "slurm.conf")]


def free_ports():
    """Two ports of the loopback that nobody uses now."""
    with socket.socket() as one, socket.socket() as other:
        for server in (one, other):
            server.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def ask(environment, *command):
    """What a command prints, nothing when it fails."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def wait(is_so, folder):
    """Until it is so."""
    for _ in range(300):
        if is_so():
            return
        time.sleep(0.2)
    raise RuntimeError(f"Slurm is not ready:\n{(folder / 'daemons.log').read_text()[-3000:]}")
