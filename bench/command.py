"""A command in a process of its own, as a user runs it, and what it took."""

import os
import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """Output of a command, its wall and CPU seconds, start included, and its resident memory."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s wall, {self.cpu_seconds:.1f} s CPU, "
            f"{self.peak_bytes / 2**20:,.0f} MB resident at most"
        )


def run(*command: str, **environment: str) -> Ran:
    """Run a command that succeeds; its messages go on to the terminal."""
    began = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    output = process.stdout.read()
    _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds = time.monotonic() - began
    return Ran(output, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
