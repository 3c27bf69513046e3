"""The kernel of co-visitation: sums of the pairs of each item, for many matrices in one pass.

For each item x walk its occurrences, for each occurrence its neighbours inside each matrix's
window, and add. The neighbours of x are numbered 0, 1, … as they are met, and the sums of one
neighbour in all matrices lie side by side: what is added to stays in the nearest cache, whatever
the number of items. No pair is ever materialised. Weights are int64 fixed point, so that a sum
does not depend on the order in which sessions, ranges or threads are done.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit, prefetch
from otto_pipeline.retrieval.matrix import MOST_EVENTS
from otto_pipeline.retrieval.rules import MAX, ONCE_PER_TYPE, ONE, SUM, Rules
from otto_pipeline.retrieval.walk import (
    ITEM_SHIFT,
    LENGTH_MASK,
    PLACE_BITS,
    PLACE_MASK,
    QUERY_BIT,
    SECOND_MASK,
    Occurrences,
    PackedWalk,
)

AHEAD, NEXT = 8, 2
"""Occurrences whose words, and whose slots, are asked for ahead."""
AHEAD_WORDS, WORDS_IN_LINE = 32, 8


class Scratch(NamedTuple):
    """Working memory of a thread.

    Attributes:
        slot_of: By item, its number among the neighbours of x; −1: not met.
        item_of: The other way round.
        sums: By slot, the sum in each matrix; then, for each whose pairs do not simply add up, the
            visit that added last, × 8, with the types that it added, and for a maximum what that
            visit has added. All 0 between two items.
        near: Neighbours of one event: slot, type (+ 4 for x itself), seconds, distance.
        weights: Weight of a pair at no distance, by the type of y as in `near`.
        amounts: The same in fixed point.
    """

    slot_of: NDArray[np.int32]
    item_of: NDArray[np.int32]
    sums: NDArray[np.int64]
    near: NDArray[np.int64]
    weights: NDArray[np.float64]
    amounts: NDArray[np.int64]


def make_scratch(found: Occurrences, packed: PackedWalk, rules: Rules) -> Scratch:
    """Working memory with room for all neighbours of any of the items; what is not used costs none.

    By NumPy, which asks for large memory pages: looking small ones up takes time at every jump.
    """
    slots = min(int(found.visited.max(initial=1)), packed.n_items)
    return Scratch(
        np.full(packed.n_items, -1, np.int32),
        np.empty(slots, np.int32),
        np.zeros((slots, rules.columns), np.int64),
        np.empty((2 * MOST_EVENTS, 4), np.int64),
        np.zeros(8),
        np.zeros(8, np.int64),
    )


@inner_njit
def clear(scratch: Scratch, slots: int) -> None:
    """Make the scratch ready for the next item."""
    for slot in range(slots):
        scratch.slot_of[scratch.item_of[slot]] = -1
        for column in range(scratch.sums.shape[1]):
            scratch.sums[slot, column] = 0


@inner_njit
def add_pairs(
    x: int,
    first: int,
    last: int,
    occurrence: NDArray[np.int64],
    packed: PackedWalk,
    rules: Rules,
    scratch: Scratch,
    visit: int,
) -> tuple[int, int]:
    """Sum the pairs of item x, whose occurrences are the numbers first … last−1.

    Returns the number of its neighbours, and of the last visit: one session of x. Its latest
    occurrence comes first, from there the nearest neighbours, later ones before earlier ones.
    """
    slots, visited = 0, -1
    for number in range(first, last):
        if number + AHEAD < len(occurrence):  # those of the next item too
            _prefetch_words(occurrence[number + AHEAD], packed.words)
            _prefetch_slots(occurrence[number + NEXT], packed.words, scratch.slot_of)
        header = occurrence[number] >> PLACE_BITS
        event = header + (occurrence[number] & PLACE_MASK)
        if header != visited:
            visited = header
            visit += 1
        slots = _add_pairs_of_event(x, header, event, packed, rules, scratch, slots, visit)
    return slots, visit


@inner_njit
def _prefetch_words(occurrence: int, words: NDArray[np.int64]) -> None:
    header = occurrence >> PLACE_BITS
    for line in range(header, header + AHEAD_WORDS, WORDS_IN_LINE):
        prefetch(words, line)


@inner_njit
def _prefetch_slots(occurrence: int, words: NDArray[np.int64], slot_of: NDArray[np.int32]) -> None:
    header, place = occurrence >> PLACE_BITS, occurrence & PLACE_MASK
    begin = max(place - AHEAD_WORDS, 1)
    end = min(place + AHEAD_WORDS, words[header] & PLACE_MASK)
    for other in range(header + begin, header + end + 1):
        prefetch(slot_of, words[other] >> ITEM_SHIFT)


@inner_njit
def _add_pairs_of_event(
    x: int,
    header: int,
    event: int,
    packed: PackedWalk,
    rules: Rules,
    scratch: Scratch,
    slots: int,
    visit: int,
) -> int:
    """Sum the pairs of one event; return the number of neighbours of x so far."""
    header_word, word = packed.words[header], packed.words[event]
    last = header + (header_word & PLACE_MASK)
    window = _window(rules.rules, header_word, word)
    slots, later = _look(x, event, last, 1, window, packed, scratch, 0, slots)
    earlier = later
    if window[2]:
        slots, earlier = _look(x, event, header + 1, -1, window, packed, scratch, later, slots)
    second = (word >> 2) & SECOND_MASK
    length = (header_word >> PLACE_BITS) & LENGTH_MASK
    for index in range(len(rules.rules)):
        rule = rules.rules[index]
        if not _reads(rule, header_word, word):
            continue
        by_length = rules.tables[min(rule.length_begin + length, rule.length_end)]
        weight, seconds = (1 + rule.recency * second) * by_length, rule.max_seconds
        _weigh(rule, weight, scratch.weights, scratch.amounts)
        _add(rule, index, seconds, rules.tables, scratch, 0, later, visit)
        if not rule.forward:
            if rule.backward != 1:
                _weigh(rule, weight * rule.backward, scratch.weights, scratch.amounts)
            seconds = min(seconds, second - rule.since + 1)
            _add(rule, index, seconds, rules.tables, scratch, later, earlier, visit)
    return slots


@inner_njit
def _reads(rule: Any, header_word: int, word: int) -> bool:
    """Whether a matrix takes an event as x."""
    return (
        (rule.source_types >> (word & 3)) & 1 == 1
        and (word >> 2) & SECOND_MASK >= rule.since
        and rule.least_events <= (header_word >> PLACE_BITS) & LENGTH_MASK <= rule.most_events
        and (not rule.queries_only or (header_word >> QUERY_BIT) & 1 == 1)
    )


@inner_njit
def _window(rules: NDArray[np.void], header_word: int, word: int) -> tuple[int, int, bool]:
    """Seconds, distance and whether to look back, for all matrices that take an event as x."""
    seconds, distance, looks_back = 0, 0, False
    for index in range(len(rules)):
        rule = rules[index]
        if _reads(rule, header_word, word):
            seconds = max(seconds, rule.max_seconds)
            distance = max(distance, rule.largest_distance)
            looks_back = looks_back or not rule.forward
    return seconds, distance, looks_back


@inner_njit
def _look(
    x: int,
    event: int,
    last: int,
    step: int,
    window: tuple[int, int, bool],
    packed: PackedWalk,
    scratch: Scratch,
    found: int,
    slots: int,
) -> tuple[int, int]:
    """Write the neighbours of an event as far as `last` to `near`; number those that are new."""
    words, near = packed.words, scratch.near
    slot_of, item_of = scratch.slot_of, scratch.item_of
    second = (words[event] >> 2) & SECOND_MASK
    distance, before = 0, x
    for other in range(event + step, last + step, step):
        word = words[other]
        y = word >> ITEM_SHIFT
        seconds = (((word >> 2) & SECOND_MASK) - second) * step
        distance += not packed.runs or y != before
        before = y
        if seconds >= window[0] or distance > window[1]:
            break
        # without a branch, as whether a neighbour is new cannot be foreseen
        slot = slot_of[y]
        slot = slots if slot < 0 else slot
        slots += slot == slots
        slot_of[y] = slot
        item_of[slot] = y
        near[found, 0] = slot
        near[found, 1] = (word & 3) + 4 * (y == x)
        near[found, 2] = seconds
        near[found, 3] = distance
        found += 1
    return slots, found


@inner_njit
def _add(
    rule: Any,
    index: int,
    max_seconds: int,
    tables: NDArray[np.float64],
    scratch: Scratch,
    begin: int,
    end: int,
    visit: int,
) -> None:
    """Add the pairs of an event with the neighbours near[begin:end] in one matrix."""
    near, weights, amounts, sums = scratch.near, scratch.weights, scratch.amounts, scratch.sums
    mode, state = rule.mode, rule.state
    least_distance, largest_distance = rule.least_distance, rule.largest_distance
    time_begin, time_end = rule.time_begin, rule.time_end
    distance_begin, distance_end = rule.distance_begin, rule.distance_end
    is_flat = time_begin == time_end and distance_begin == distance_end
    for k in range(begin, end):
        slot, code, seconds, distance = near[k, 0], near[k, 1], near[k, 2], near[k, 3]
        if seconds >= max_seconds or distance > largest_distance:
            break
        if distance < least_distance:
            continue
        amount = amounts[code]
        if not is_flat:
            by_time = tables[min(time_begin + seconds, time_end)]
            by_distance = tables[min(distance_begin + distance, distance_end)]
            amount = _fixed(weights[code] * by_time * by_distance)
        if mode != SUM:
            amount = _new_amount(sums, slot, state, mode, visit, code & 3, amount)
        sums[slot, index] += amount


@inner_njit
def _weigh(
    rule: Any, weight: float, weights: NDArray[np.float64], amounts: NDArray[np.int64]
) -> None:
    """Weight of a pair at no distance, by the type of y, then the same for y = x."""
    weights[0] = weight * rule.click_weight
    weights[1] = weight * rule.cart_weight
    weights[2] = weight * rule.order_weight
    for code in range(3):
        weights[code + 4] = weights[code] * rule.self_pairs
    for code in range(8):
        amounts[code] = _fixed(weights[code])


@inner_njit
def _fixed(weight: float) -> int:
    """A weight in fixed point."""
    return int(weight * ONE + 0.5)


@inner_njit
def _new_amount(
    sums: NDArray[np.int64],
    slot: int,
    state: int,
    mode: int,
    visit: int,
    type_y: int,
    amount: int,
) -> int:
    """What of an amount is new, where the pairs of one visit do not simply add up."""
    last = sums[slot, state]
    is_first = last >> 3 != visit
    if mode == MAX:
        so_far = 0 if is_first else sums[slot, state + 1]
        most = max(amount, so_far)
        sums[slot, state] = visit << 3
        sums[slot, state + 1] = most
        return most - so_far
    types = 0 if is_first else last & 7
    type_bit = (1 << type_y if mode == ONCE_PER_TYPE else 1) if amount > 0 else 0
    sums[slot, state] = visit << 3 | types | type_bit
    return 0 if types & type_bit else amount
