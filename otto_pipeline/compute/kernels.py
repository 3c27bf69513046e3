"""What numba kernels need beyond numba's own."""

from typing import Any, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

inner_njit = cast(Any, njit)(cache=True, nogil=True, _nrt=False)
"""Compiles a function that a kernel calls in its innermost loops, and that allocates nothing.

Without `_nrt` numba counts each call as one more reference to every array given, on counters that
all threads share; a kernel that calls for every pair of events spends much of its time there.
"""


@cast(Any, intrinsic)
def prefetch(_context: Any, array: types.Array, place: types.Integer) -> tuple[Any, Any]:
    """Load the cache line of `array[place]` in the background; any place is allowed.

    A kernel that jumps about in a large array waits some 100 ns for each jump; where it knows its
    next jumps, it can ask for them while it works on the present one. Has no other effect.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number]),
            "llvm.prefetch.p0",
        )
        for_reading, keep_near, data_cache = number(0), number(3), number(1)
        builder.call(function, [address, for_reading, keep_near, data_cache])
        return context.get_dummy_value()

    return types.void(array, place), generate


@cast(Any, intrinsic)
def cycles(_context: Any) -> tuple[Any, Any]:
    """The processor's counter of cycles: what parts of a kernel take, beside each other."""

    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        counter = ir.FunctionType(ir.IntType(64), [])
        name = "llvm.readcyclecounter"
        return builder.call(cgutils.get_or_insert_function(builder.module, counter, name), [])

    return types.int64(), generate
