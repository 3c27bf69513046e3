"""A small log four times over, with each quarter of its sessions as the validation week once.

For logs whose start times are made up anyway (`jd_hup_appliances`), so that any session may be the
later one; four times as many sessions are judged as in the official week.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec

QUARTERS = 4
DAYS = "8"
"""Validation window: at least 6.5 days of starts, and the time that the last session takes."""
TRAINING_DAYS, VALIDATION_STARTS = (0.0, 19.0), (22.0, 28.5)
"""When sessions start; a day and more lies between, in which the longest of them end."""
DAY_MS = 86_400_000


def quarters(log: Path, folder: Path) -> Iterator[Path]:
    """Write the four logs, one after the other."""
    with gzip.open(log) as lines:
        sessions = [msgspec.json.decode(line) for line in lines]
    sessions.sort(key=lambda session: (session["events"][0]["ts"], session["session"]))
    began = sessions[0]["events"][0]["ts"]
    for quarter in range(QUARTERS):
        later = sessions[quarter::QUARTERS]
        earlier = [one for place, one in enumerate(sessions) if place % QUARTERS != quarter]
        path = folder / f"quarter-{quarter}.jsonl"
        with path.open("wb") as file:
            for number, moved in enumerate(
                [
                    *_spread(earlier, began, *TRAINING_DAYS),
                    *_spread(later, began, *VALIDATION_STARTS),
                ]
            ):
                file.write(msgspec.json.encode({"session": number, "events": moved}) + b"\n")
        yield path


def _spread(sessions: list[dict], began: int, first: float, last: float) -> Iterator[list[dict]]:
    """Events of sessions that start evenly between two days after `began`, else as they were."""
    for place, session in enumerate(sessions):
        day = first + (last - first) * place / len(sessions)
        later = began + round(day * DAY_MS) - session["events"][0]["ts"]
        yield [{**event, "ts": event["ts"] + later} for event in session["events"]]
