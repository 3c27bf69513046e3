"""How difficult a generated log is: recall@20 of lists without labels, into RESULTS.md.

    python -m bench difficulty

Comparisons of quality need a log generated at their size, not a sample of a larger one: thinning
sessions thins items.
"""

from pathlib import Path

from bench.generate import scratch
from bench.real_logs import rebuild
from bench.results import write_section
from otto_pipeline.evaluation.recall import BY_HISTORY, BY_LIST
from otto_pipeline.evaluation.summary import score_table
from otto_pipeline.events.generate import default_items, default_test_sessions, generate_log
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset

SESSIONS = 300_000


def main() -> None:
    with scratch() as name:
        folder = Path(name)
        generate_log(
            folder,
            sessions=SESSIONS,
            test_sessions=default_test_sessions(SESSIONS),
            items=default_items(SESSIONS),
            seed=42,
            threads=load_settings().threads,
        )
        root = rebuild(folder, days="7", seed=42, store=folder / "store")
        table = score_table(Dataset(root / "validation/scores").read(), "github")
    text = [
        f"{SESSIONS:,} generated train sessions, the last 7 days held out. Of OTTO's own log the "
        f"public lists of rules reach .564–.577 (here `{BY_LIST}`), a session's history .485 "
        f"(`{BY_HISTORY}`).",
        "",
        table,
    ]
    write_section("Difficulty of a generated log", "python -m bench difficulty", "\n".join(text))
