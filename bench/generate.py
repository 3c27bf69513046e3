"""The OTTO-sized synthetic log: its cost, and how near it is to OTTO, into RESULTS.md.

    python -m bench generate

It lies below `bench/data` for all other measurements, and is made when it is missing.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from bench.command import run
from bench.results import write_section

DATA = Path(__file__).with_name("data").resolve()
LOG = DATA / "otto"
SIZE = ("--sessions", "12899779", "--test-sessions", "1671803", "--items", "1855603")
OTTO = str(Path(sys.executable).with_name("otto"))


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder on the disk of the logs, to be removed after use."""
    DATA.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=DATA)


def ensure_log() -> Path:
    """The folder of the log."""
    if not LOG.exists():
        main()
    return LOG


def main() -> None:
    new = LOG.with_name("otto.new")
    shutil.rmtree(new, ignore_errors=True)
    ran = run(OTTO, "generate", *SIZE, "--out", str(new))
    size = sum(path.stat().st_size for path in new.iterdir())
    if LOG.exists():
        shutil.rmtree(new)
    else:
        new.rename(LOG)
    text = f"`otto generate {' '.join(SIZE)}`: {ran}, {size / 1e9:.1f} GB written."
    write_section("Generated log", "python -m bench generate", f"{text}\n\n```\n{ran.output}```")
