"""The kernels of `forest`: columns → codes, codes → sums of leaves, a block of rows at a time.

A block lies in memory as [slot, row], so that one slot of all its rows is 512 consecutive bytes:
eight vector registers of 64. A forest is one array of nodes, each a vector instruction or two for
64 rows: compare the codes with the cut, choose between the leaves that the two children found.
numba's own vectoriser does not see through the loop (a thirtieth of the speed), so the
instructions are written out.
"""

from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

BLOCK_ROWS = 512
_LANES = 64
SLOT, CUT, LEFT, RIGHT, PLACE = range(5)
"""Columns of an array of nodes. A row whose code of `SLOT` is at most `CUT` goes left. A child is
the place on the stack where it leaves its result, or -1 - n for leaf n; `PLACE` is the node's own.
"""


@njit(cache=True, nogil=True)
def write_codes(
    values: NDArray[np.float32], thresholds: NDArray[np.float32], codes: NDArray[np.uint8]
) -> bool:
    """Write how many thresholds each value has reached; say whether all values are numbers.

    There are 2^n - 1 thresholds, ascending. `codes` is [block, row]; what lies behind the last
    value becomes 0. Each step of the binary search is made for all rows of a block, which keeps
    the processor's pipeline full: 2 to 4 ns a value.
    """
    numbers = True
    reached = np.empty(BLOCK_ROWS, np.uint32)
    one = np.uint32(1)
    for block in range(codes.shape[0]):
        rows = values[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]
        reached[:] = 0
        half = np.uint32((len(thresholds) + 1) >> 1)
        while half:
            for row in range(len(rows)):
                reached[row] += half * np.uint32(rows[row] >= thresholds[reached[row] + half - one])
            half >>= one
        for row in range(len(rows)):
            numbers &= rows[row] == rows[row]  # NaN does not equal itself
        for row in range(BLOCK_ROWS):
            codes[block, row] = reached[row]
    return numbers


def _choose(left_is_leaf: bool, right_is_leaf: bool) -> Any:
    """An intrinsic that evaluates one node for a block of rows.

    `stack` and `codes` are addressed by the places of their first element: of the node's result,
    of its slot, of its children's results. A child that is a leaf is given by its number instead.
    """

    @cast(Any, intrinsic)
    def choose(
        _context: Any,
        stack: Any,
        place: Any,
        codes: Any,
        slot: Any,
        cut: Any,
        left: Any,
        right: Any,
    ) -> tuple[Any, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _stack, place, _codes, slot, cut, left, right = arguments
            stack, codes = (
                context.make_array(signature.args[at])(context, builder, arguments[at]).data
                for at in (0, 2)
            )
            leaf_type, code_type = stack.type.pointee, codes.type.pointee
            lefts = _splat(builder, builder.trunc(left, leaf_type)) if left_is_leaf else None
            rights = _splat(builder, builder.trunc(right, leaf_type)) if right_is_leaf else None
            cuts = _splat(builder, builder.trunc(cut, code_type))
            for row in range(0, BLOCK_ROWS, _LANES):
                goes_left = builder.icmp_unsigned(
                    "<=", builder.load(_lanes(builder, codes, slot, row), align=1), cuts
                )
                chosen = builder.select(
                    goes_left,
                    lefts or builder.load(_lanes(builder, stack, left, row), align=1),
                    rights or builder.load(_lanes(builder, stack, right, row), align=1),
                )
                builder.store(chosen, _lanes(builder, stack, place, row), align=1)
            return context.get_dummy_value()

        number = types.int64
        return types.void(stack, number, codes, number, number, number, number), generate

    return choose


def _lanes(builder: Any, data: Any, first: Any, row: int) -> Any:
    """The address of a vector of elements, of which one row's is the first."""
    place = builder.gep(data, [builder.add(first, first.type(row))])
    return builder.bitcast(place, ir.VectorType(data.type.pointee, _LANES).as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    """A vector of one value."""
    vector = ir.Constant(ir.VectorType(value.type, _LANES), ir.Undefined)
    first = builder.insert_element(vector, value, cgutils.int32_t(0))
    everywhere = ir.Constant(ir.VectorType(cgutils.int32_t, _LANES), None)
    return builder.shuffle_vector(first, vector, everywhere)


_leaf_or_leaf = _choose(True, True)
_leaf_or_node = _choose(True, False)
_node_or_leaf = _choose(False, True)
_node_or_node = _choose(False, False)


@njit(cache=True, nogil=True)
def add_trees(
    codes: NDArray[np.uint8],
    nodes: NDArray[np.int32],
    first_node: NDArray[np.int64],
    leaves: NDArray[np.float32],
    first_leaf: NDArray[np.int64],
    stack: NDArray[np.uint8] | NDArray[np.uint16],
    margins: NDArray[np.float32],
) -> None:
    """Add to the margins the leaf that each row reaches in each tree, tree by tree.

    `codes` is [block, slot, row], `margins` [block, row]; the nodes of a tree, children before
    parents, end with its root, whose place is 0. A tree without nodes is one leaf. `stack`, flat,
    has a block of rows for each place, of a type that can hold the number of a leaf.
    """
    flat = codes.reshape(-1)
    for block in range(codes.shape[0]):
        sums = margins[block]
        for tree in range(len(first_node) - 1):
            if first_node[tree] == first_node[tree + 1]:
                stack[:BLOCK_ROWS] = 0
            for number in range(first_node[tree], first_node[tree + 1]):
                node = nodes[number]
                slot = (block * codes.shape[1] + node[SLOT]) * BLOCK_ROWS
                place, cut = node[PLACE] * BLOCK_ROWS, np.int64(node[CUT])
                left, right = np.int64(node[LEFT]), np.int64(node[RIGHT])
                if left >= 0 and right >= 0:
                    left, right = left * BLOCK_ROWS, right * BLOCK_ROWS
                    _node_or_node(stack, place, flat, slot, cut, left, right)
                elif left >= 0:
                    _node_or_leaf(stack, place, flat, slot, cut, left * BLOCK_ROWS, -1 - right)
                elif right >= 0:
                    _leaf_or_node(stack, place, flat, slot, cut, -1 - left, right * BLOCK_ROWS)
                else:
                    _leaf_or_leaf(stack, place, flat, slot, cut, -1 - left, -1 - right)
            first = first_leaf[tree]
            for row in range(BLOCK_ROWS):
                sums[row] += leaves[first + stack[row]]
