"""The lanes whose sessions rankers learn from, their shards one after the other.

They are the validation lane and the two halves. A stage that runs over all of them has what is of a
half under its path, as `half_a/features`, and what is of the validation lane under its name alone.
The validation lane comes first, so that its shards have the same numbers with halves and without.
"""

from otto_pipeline.events.halves import HALVES
from otto_pipeline.store.stage import Inputs

VALIDATION = ""
LANES = (VALIDATION, *(f"half_{half}/" for half in HALVES))
"""What stands before the names of a lane's inputs."""


def lane_inputs(*names: str) -> dict[str, str]:
    """Paths by input, of what each lane has under these names."""
    return {f"{lane}{name}": f"{lane or 'validation/'}{name}" for lane in LANES for name in names}


def lane_shards(inputs: Inputs, name: str) -> int:
    """Shards of all lanes together."""
    return sum(len(inputs[f"{lane}{name}"].files) for lane in LANES)


def in_lane(inputs: Inputs, name: str, shard: int) -> tuple[str, int]:
    """Which lane a shard is of, and its number there."""
    for lane in LANES:
        shards = len(inputs[f"{lane}{name}"].files)
        if shard < shards:
            return lane, shard
        shard -= shards
    raise IndexError(f"{name}: no lane has the shard")
