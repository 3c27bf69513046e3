"""The co-visitation matrices: one line of declaration each.

"1st", "3rd" are the places in the OTTO contest of the solutions that a matrix is taken from
(OTTO.md, covisit catalogue); `last=500` is a whole session there. Where a source differs: lukan's
keeps 500 neighbours, 239 takes the closest pair of a file, not of a session. Which of them a run builds is
the setting OTTO_MATRICES.
"""

from collections.abc import Sequence

from otto_pipeline.retrieval.matrix import ALL, BUYS, DAY, HOUR, Decay, Matrix
from otto_pipeline.settings import SettingsError, load_settings

TO_BUYS = (0, 1, 1)
HOUR_HALF_LIFE = Decay("halves", HOUR)

# fmt: off
# ruff: noqa: E501
CATALOGUE = (
    # the seed of this project, as many public solutions
    Matrix("time", 'seed "time"', max_seconds=DAY, recency_gain=3, occurrences="once", top_k=20),
    Matrix("cart_order", 'seed "cart-order"', type_weights=(1, 6, 3), max_seconds=DAY, top_k=15),
    Matrix("buy2buy", 'seed "buy2buy"', BUYS, TO_BUYS, max_seconds=14 * DAY, top_k=15),
    # 1st place: directional, with self-pairs
    Matrix("next2", "1st, v11", ALL, (1, 3, 6), True, 500, distances=(1, 2), self_pairs=True, top_k=100),
    Matrix("next2_14d", "1st, v12", ALL, (1, 3, 6), True, 500, distances=(1, 2), last_days=14, self_pairs=True, top_k=100),
    Matrix("next2_buys", "1st, v13", ALL, (0, 3, 6), True, 500, distances=(1, 2), self_pairs=True, top_k=100),
    Matrix("next2_carts", "1st, v14", ALL, (1, 9, 1), True, 500, distances=(1, 2), self_pairs=True, top_k=100),
    Matrix("next2_clicks", "1st, v15", ALL, (1, 0, 0), True, 500, distances=(1, 2), self_pairs=True, top_k=100),
    Matrix("next5", "1st, v16", ALL, (1, 3, 6), True, 500, distances=(1, 5), self_pairs=True, top_k=100),
    Matrix("next20", "1st, v17", ALL, (1, 9, 6), True, 500, distances=(1, 20), self_pairs=True, top_k=100),
    # 3rd place, Chris: pairs close in time
    Matrix("close_day", "3rd, 93", max_seconds=DAY, recency_gain=3, by_time=HOUR_HALF_LIFE, occurrences="once", top_k=80),
    Matrix("close", "3rd, 95", ALL, (1, 4, 4), by_time=HOUR_HALF_LIFE, occurrences="once"),
    Matrix("buys_14d", "3rd, 90", BUYS, TO_BUYS, max_seconds=14 * DAY, occurrences="once"),
    Matrix("close_21d", "3rd, 115", last=500, last_days=21, by_time=HOUR_HALF_LIFE, occurrences="once", self_pairs=True),
    Matrix("query_to_buy", "3rd, 155", ALL, TO_BUYS, True, 500, queries_only=True, by_time=Decay("halves", 6 * HOUR), occurrences="once", self_pairs=True),
    Matrix("short_to_buy", "3rd, 165", ALL, TO_BUYS, session_events=(1, 6), by_time=HOUR_HALF_LIFE, occurrences="once", self_pairs=True),
    Matrix("adjacent", "3rd, 217", last=500, distances=(1, 1), occurrences="once"),
    Matrix("buy_soon", "3rd, 239", ALL, TO_BUYS, True, 500, max_seconds=2 * HOUR, by_time=HOUR_HALF_LIFE, occurrences="max", self_pairs=True, top_k=20),
    # lukan, one LightGBM, 96 features, public score .596
    Matrix("item_cf", "lukan, itemCF", last=500, last_days=14, by_distance=Decay("geometric", 0.5), backward=0.6, normalisation="cosine", top_k=100),
    # RANKING.md: what a small real log wanted; positions are runs of one item
    Matrix("sym", "RANKING.md, sym", ALL, (1, 6, 3), runs=True, max_seconds=DAY),
    Matrix("fwd", "RANKING.md, fwd", forward=True, runs=True, by_distance=Decay("geometric", 0.85), occurrences="max", self_pairs=True),
    Matrix("next", "RANKING.md, next", forward=True, runs=True, distances=(1, 3), by_distance=Decay("reciprocal"), self_pairs=True),
    Matrix("near", "RANKING.md, near", runs=True, distances=(1, 6), by_distance=Decay("reciprocal"), backward=0.7, occurrences="max"),
    Matrix("to_cart", "RANKING.md, any→cart", ALL, (0, 1, 0), runs=True, by_distance=Decay("log2"), backward=0.5, occurrences="max", self_pairs=True),
    Matrix("to_order", "RANKING.md, any→order", ALL, (0, 0, 1), runs=True, by_distance=Decay("log2"), backward=0.5, occurrences="max", self_pairs=True),
    Matrix("together", "RANKING.md, session co-occurrence", runs=True, by_length=Decay("log", 2), occurrences="max"),
)
# fmt: on


def chosen(names: Sequence[str]) -> tuple[Matrix, ...]:
    """The named matrices, or `all`, in the order of the catalogue.

    Raises:
        SettingsError: a name is not in the catalogue, or there is none.
    """
    known = [matrix.name for matrix in CATALOGUE]
    if len(set(known)) < len(known):
        twice = next(name for name in known if known.count(name) > 1)
        raise ValueError(f"retrieval/matrices.py declares two matrices {twice!r}: rename one")
    unknown = sorted(set(names).difference(known, ("all",)))
    if unknown or not names:
        raise SettingsError(
            f"OTTO_MATRICES={','.join(names)}: "
            + (f"there is no matrix {', '.join(unknown)}" if unknown else "names no matrix")
            + f"; choose from {', '.join(known)}, or all"
        )
    return tuple(matrix for matrix in CATALOGUE if "all" in names or matrix.name in names)


MATRICES = chosen(load_settings().matrices)
"""The matrices of this process: each is an asset, and two columns of candidates."""
