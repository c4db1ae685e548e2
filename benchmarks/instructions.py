"""Benchmark of instructions: how many a step of a small net takes, by callgrind.

A clock cannot tell a microsecond from 1.05 on a machine that does other things, too; a
count of instructions is almost the same every time. It is the difference of a long and
a short fit, divided by the steps between them. Importing is not counted: callgrind is
told (by callgrind_control, a part of valgrind) when to begin, and to write down what it
has counted after each fit. Valgrind knows instruction sets up to AVX2.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import SMALL, STEPS
from measure import ONE_THREAD, QUIET, SHORT, Unavailable
from peers import with_cbp
from report import Result, instruction_set

#: Steps between the short and the long fit, at least.
STEPS_COUNTED = 3000


def instructions(settings):
    """Instructions of a training step of the small nets, by valgrind's callgrind."""
    names = list(settings.chosen(dict.fromkeys(SMALL)))
    for name, (count, isa) in per_step(names, settings.dtype).items():
        unit = f"instructions/step, {isa}"
        yield Result("instructions", name, unit, {"cbp": [count]}, net=STEPS[name].net)


def per_step(names, dtype, folder=None):
    """Name -> (instructions per step, instruction set); cbp is taken from `folder`."""
    for tool in ("valgrind", "callgrind_control"):
        if not shutil.which(tool):
            raise Unavailable(
                f"there is no {tool}; install valgrind "
                "(Debian, Ubuntu: apt-get install valgrind)"
            )
    environment = os.environ | ONE_THREAD | QUIET | {"PYTHONHASHSEED": "0"}
    if folder:
        environment["PYTHONPATH"] = str(folder)
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                f"--callgrind-out-file={out}/counts",
                sys.executable,
                __file__,
                f"{out}/isa.json",
                dtype,
                *names,
            ],
            env=environment,
            check=True,
            capture_output=True,
        )
        isa = json.loads(Path(out, "isa.json").read_text())
        totals = [total(Path(out, f"counts.{i + 1}")) for i in range(2 * len(names))]
    return {
        name: ((long - short) / (more_epochs(name) * STEPS[name].net.steps), isa)
        for name, short, long in zip(names, totals[::2], totals[1::2], strict=True)
    }


def more_epochs(name):
    return -(-STEPS_COUNTED // STEPS[name].net.steps)


def total(path):
    """The sum in a file of callgrind's."""
    for line in path.read_text().splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise ValueError(f"{path} has no totals")


# --- under valgrind ------------------------------------------------------------------


def control(*arguments):
    command = ["callgrind_control", *arguments, str(os.getpid())]
    subprocess.run(command, check=True, capture_output=True)


def count(isa_path, dtype, *names):
    """Leaves two files of callgrind's for each name: of a short fit, of a long one."""
    Path(isa_path).write_text(json.dumps(instruction_set()))
    for name in names:
        net = STEPS[name].net
        fit = with_cbp(net, *net.data(dtype))
        fit(SHORT)
        control("--instr=on")
        for epochs in (SHORT, SHORT + more_epochs(name)):
            control("--zero")
            fit(epochs)
            control("--dump")
        control("--instr=off")


if __name__ == "__main__":
    count(*sys.argv[1:])
