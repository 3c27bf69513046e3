"""A session, an item → in words, why the item is recommended where it is, or is not.

The inputs are those of one lane (`orchestration/lane.py`, `why_inputs`), the rankers by target.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray
from tabulate import tabulate

from otto_pipeline.events.eligibility import open_eligibility
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.events.hashing import draw
from otto_pipeline.features.table import FEATURES
from otto_pipeline.folds import ALL_SESSIONS, row_folds
from otto_pipeline.ranking.blend import LIST, SCORED, blend_weights, mixed
from otto_pipeline.ranking.explanation import shap_contributions
from otto_pipeline.ranking.margins import load_ranker, target_score
from otto_pipeline.ranking.scoring import STACKED, keys, list_score, session_ranks, with_stacked
from otto_pipeline.retrieval.candidates import candidates, query_sessions
from otto_pipeline.retrieval.pre_ranker import open_pre_rankers
from otto_pipeline.retrieval.sources import SOURCES
from otto_pipeline.retrieval.union import LARGEST_UNION, open_sources
from otto_pipeline.schemas import TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.stage import Inputs

MOVERS = 6
"""Features shown of each target."""

_FEATURES = {feature.name: feature for feature in FEATURES}


def why(inputs: Inputs, session_id: str, item_id: str, settings: Settings) -> str:
    """What proposed an item to a session, its places, and what moved it; original ids.

    Raises:
        ValueError: the log has no such session or item, the session is not to be predicted, or the
            item is none of its candidates: the message says what lost it.
    """
    session = _index(inputs["log_sessions"].scan().select("session", "session_id"), session_id)
    aid = _index(inputs["items"].scan().select("aid", "item_id"), item_id)
    query = query_sessions(inputs["sessions"], "hash", "n_events").filter(session=session)
    if query.is_empty():
        raise ValueError(f"session {session_id} is none of the sessions that the lane predicts")
    shard, found = _candidates_of(inputs["candidates"], session)
    if not found["aid"].is_in([aid]).any():
        raise ValueError(f"item {item_id} is no candidate: {_lost(inputs, query, aid, settings)}")
    frame = pl.scan_parquet(inputs["features"].files[shard]).filter(session=session).collect()
    parts = [
        f"Item {item_id}, one of {found.height} candidates of session {session_id} (visible "
        f"events: {query['n_events'][0]}).",
        _proposals(found, aid),
        *_targets(inputs, frame, query, aid, settings),
    ]
    return "\n\n".join(parts)


def _index(ids: pl.LazyFrame, original: str) -> int:
    """The dense index of an original id, from a table of the two."""
    column = ids.collect_schema().names()[1]
    value = pl.Series([original]).cast(ids.collect_schema()[column], strict=False)[0]
    rows = ids.filter(pl.col(column).eq_missing(value)).collect()
    if rows.is_empty():
        raise ValueError(f"the log has no {column.removesuffix('_id')} {original}")
    return rows.item(0, 0)


def _candidates_of(dataset: Dataset, session: int) -> tuple[int, pl.DataFrame]:
    """The shard with a session's candidates, and these."""
    for shard, file in enumerate(dataset.files):
        rows = pl.scan_parquet(file).filter(session=session).collect()
        if rows.height:
            return shard, rows
    return 0, pl.DataFrame(schema=rows.schema)


def _lost(inputs: Inputs, query: pl.DataFrame, aid: int, settings: Settings) -> str:
    """The step at which an item was lost, from the union of all sources made once more."""
    log = open_event_log(inputs["event_log"])
    row = query.select("session", aid=pl.lit(aid, pl.Int32))
    if not open_eligibility(inputs["eligibility"], log, settings).of(row, log)[0]:
        return "it may not be recommended to this session (what is eligible)"
    pre_rankers = open_pre_rankers(inputs["pre_rankers"])
    folds = row_folds(_draws(query, settings), max(1, len(pre_rankers.leaf)))
    union, _ = candidates(
        open_sources(inputs, settings),
        query["session"].to_numpy(),
        LARGEST_UNION,
        settings.threads,
        pre_rankers,
        folds,
    )
    places = np.flatnonzero(union["aid"].to_numpy() == aid)
    if len(places) == 0:
        return f"no source proposed it, of {union.height} items that some source did"
    return (
        f"the pre-ranker put it at place {places[0] + 1} of {union.height}, and the best "
        f"{settings.max_candidates} go on to the rankers; it was proposed by "
        + ", ".join(name for name, *_ in _sources(union, aid))
    )


def _draws(query: pl.DataFrame, settings: Settings) -> NDArray[np.uint64]:
    return draw(query["hash"], settings.seed, "folds").to_numpy()


def _sources(rows: pl.DataFrame, aid: int) -> Iterator[tuple[str, int, float]]:
    """The sources that propose an item, with rank and score."""
    row = rows.row(by_predicate=pl.col("aid") == aid, named=True)
    for source in SOURCES:
        if row[f"{source}_rank"] is not None:
            yield source, row[f"{source}_rank"], row[f"{source}_score"]


def _proposals(found: pl.DataFrame, aid: int) -> str:
    places = {
        what: _place(found[column].to_numpy(writable=True), found, aid)
        for what, column in (("pre-ranker", "pre_score"), ("list without labels", "list_score"))
    }
    rows = [(name, rank, f"{score:.4g}") for name, rank, score in _sources(found, aid)]
    table = tabulate(rows, ["proposed by", "rank", "score"], "simple", disable_numparse=True)
    return f"{table}\n\n" + ", ".join(
        f"place {place} by the {what}" for what, place in places.items()
    )


def _place(score: NDArray[np.float32], rows: pl.DataFrame, aid: int) -> int:
    session, items = keys(rows)
    return int(session_ranks(session, items, score)[items == aid][0])


def _targets(
    inputs: Inputs, frame: pl.DataFrame, query: pl.DataFrame, aid: int, settings: Settings
) -> Iterator[str]:
    """For each target the final place and score, their parts, and the features behind them."""
    sessions, draws = inputs["sessions"], _draws(query, settings)
    scores = {LIST: list_score(frame)}
    for name in TYPES:
        scores[name] = target_score(name, frame, scores, inputs[name], sessions, settings)
    row = int(np.flatnonzero(frame["aid"].to_numpy() == aid)[0])
    for name in TYPES:
        files = inputs[name].files
        fold = int(row_folds(draws, len(files))[0]) if len(files) > 1 else ALL_SESSIONS
        mix = blend_weights(inputs["blend"], name)[fold]
        final = mixed(mix, scores)
        place = _place(final, frame, aid)
        summands = [
            f"{weight:.2f} × {'the list' if other == LIST else other} {scores[other][row]:+.2f}"
            for weight, other in zip(mix, SCORED, strict=True)
            if weight
        ]
        verdict = "recommended" if place <= TOP_K else f"not among the {TOP_K} recommended"
        text = f"{name}: place {place}, {verdict}. Score {final[row]:+.2f} = " + " + ".join(
            summands
        )
        if files and mix[SCORED.index(name)]:
            file = files[max(fold, 0)]  # the only one where it has learnt from all sessions
            one = with_stacked(frame, name, {key: scores[key] for key in STACKED[name]})[row]
            text += f"\n{_movers(load_ranker(file, settings), one)}"
        yield text


def _movers(booster: xgb.Booster, row: pl.DataFrame) -> str:
    """The features that moved a row's margin most, with value and meaning."""
    names = booster.feature_names or []
    moved = shap_contributions(booster, row)[0]
    order = np.argsort(-np.abs(moved), kind="stable")[:MOVERS]
    lines = [
        (
            f"{moved[number]:+.2f}",
            names[number],
            _value(names[number], row),
            _meaning(names[number]),
        )
        for number in order
    ]
    headers = ["moved by", "feature", "value", "meaning"]
    return tabulate(lines, headers, "simple", disable_numparse=True, colalign=("right",))


def _value(name: str, row: pl.DataFrame) -> str:
    value = row[name][0]
    missing = name in _FEATURES and value == _FEATURES[name].missing
    return "missing" if missing else f"{value:.4g}"


def _meaning(name: str) -> str:
    if name in _FEATURES:
        return _FEATURES[name].description
    _, target, kind = name.split("_")
    return f"{'Place' if kind == 'rank' else 'Score'} by the ranker of {target}."
