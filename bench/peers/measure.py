"""Run one way in this process, print as JSON what it took, and keep its rows.

    python -m bench.peers.measure pandas_merges 30000 EVENT_LOG FOLDER

The clock runs from the loaded events to the top k; a few sessions are done before, so that
neither imports nor compilation count.
"""

import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import msgspec
import numpy as np

from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.store.dataset import Dataset

REPEATS = 3
WARM_UP_SESSIONS = 1_000


def main(way: str, option: str, event_log: str, folder: str) -> None:
    log = _in_memory(open_event_log(Dataset(Path(event_log))))
    peer = import_module(f"bench.peers.{way}")
    peer.compute(peer.load(_first_sessions(log)), option)
    loaded = peer.load(log)
    seconds = []
    for _ in range(REPEATS):
        began = time.monotonic()
        computed = peer.compute(loaded, option)
        seconds.append(time.monotonic() - began)
    for name, frame in peer.frames(computed).items():
        frame.write_parquet(Path(folder) / f"{name}.parquet")
    print(msgspec.json.encode(seconds).decode())


def _in_memory(log: EventLog) -> EventLog:
    arrays = {name: np.array(getattr(log, name)) for name in ("session_start", "aid", "ts", "type")}
    return replace(log, **arrays)


def _first_sessions(log: EventLog) -> EventLog:
    start = log.session_start[: WARM_UP_SESSIONS + 1]
    events = slice(0, start[-1])
    return EventLog(start, log.aid[events], log.ts[events], log.type[events], log.n_items, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
