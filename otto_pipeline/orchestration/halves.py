"""The assets of training sessions that are cut: which they are, and the lanes of the two halves.

All are made in one step: where labels suffice, which is nearly always, there is nothing to make.
"""

from otto_pipeline.events import halves
from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.orchestration.lane import lane
from otto_pipeline.schemas import CUT_SESSIONS, EVENTS, LABELS, LANE_SESSIONS

STEP = "halves"
LOG = {
    "events": "log/events",
    "sessions": "log/sessions",
    "known_items": "validation/known_items",
}


def _half(half: str) -> list[Artifact]:
    """The artifacts `half_a/…` or `half_b/…`."""
    name = f"half_{half}"
    cut = {**LOG, "cut_sessions": "validation/cut_sessions"}
    return [
        Artifact(
            f"{name}/events",
            halves.events_stage(half),
            EVENTS,
            name,
            "What the lane sees: sessions of the other half before the split moment, and the "
            "beginnings of those of its own that are cut.",
            cut,
            step=STEP,
        ),
        Artifact(
            f"{name}/sessions",
            halves.sessions_stage(half),
            LANE_SESSIONS,
            name,
            "Sessions of the lane; those that are cut are queries.",
            {**cut, "visible": f"{name}/events"},
            step=STEP,
        ),
        Artifact(
            f"{name}/labels",
            halves.labels_stage(half),
            LABELS,
            name,
            "What each cut session did after its cut: the next click, the carts, the orders.",
            {**cut, "items": "log/items"},
            step=STEP,
        ),
        *lane(
            name,
            events=f"{name}/events",
            labels=f"{name}/labels",
            # they have learnt from sessions after the split moment: from none that is cut
            pre_rankers="validation/fold_pre_rankers",
            # what is out of stock by now was wanted then, and teaches as much
            eligible_only=False,
            step=STEP,
        ),
    ]


HALVES_ARTIFACTS = (
    Artifact(
        "validation/cut_sessions",
        halves.CUT_SESSIONS_STAGE,
        CUT_SESSIONS,
        "ranking",
        "Sessions before the split moment that are cut, so that rankers have more to learn from: "
        "none where the validation lane has labels enough.",
        {**LOG, "labels": "validation/labels"},
        step=STEP,
    ),
    *(artifact for half in halves.HALVES for artifact in _half(half)),
)
