"""Measurements as sections of RESULTS.md, each with the machine and the date."""

import platform
import re
import time
from pathlib import Path

import psutil

RESULTS = Path(__file__).with_name("RESULTS.md")


def machine() -> str:
    """The machine in words."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = found.group(1) if found else platform.processor()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{name}, {psutil.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}"
    )


def write_section(title: str, command: str, text: str) -> None:
    """Put a section into RESULTS.md, in the place of the one with this title."""
    made = f"`{command}`, {time.strftime('%Y-%m-%d')}, {machine()}."
    body = f"## {title}\n\n{made}\n\n{text.strip()}\n"
    page = RESULTS.read_text() if RESULTS.exists() else "# Results\n\n"
    section = re.compile(rf"## {re.escape(title)}\n.*?(?=\n## |\Z)", re.DOTALL)
    if section.search(page):
        page = section.sub(lambda _match: body, page)
    else:
        page = page.rstrip() + "\n\n" + body
    RESULTS.write_text(page.rstrip() + "\n")
