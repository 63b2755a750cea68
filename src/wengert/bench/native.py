"""Two small loops in machine code that gauge the machine: multiply-adds and a ping-pong."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from wengert.compile.emit.llvm import attributes, machine, object_code
from wengert.compile.emit.loader import from_objects

CHAINS = 12
"""Independent accumulators: enough to hide the latency, few enough for sixteen registers."""

_PING_PONG = """
define void @kernel(i64 %address, i64 %side, i64 %turns) {
entry:
  %counter = inttoptr i64 %address to ptr
  %before = sub i64 %turns, 1
  %steps = mul i64 %before, 2
  %last = add i64 %side, %steps
  br label %wait
wait:
  %mine = phi i64 [%side, %entry], [%mine, %wait], [%following, %turn]
  %seen = load atomic i64, ptr %counter acquire, align 8
  %ready = icmp eq i64 %seen, %mine
  br i1 %ready, label %turn, label %wait
turn:
  %next = add i64 %mine, 1
  store atomic i64 %next, ptr %counter release, align 8
  %following = add i64 %mine, 2
  %more = icmp ule i64 %following, %last
  br i1 %more, label %wait, label %end
end:
  ret void
}
"""


def vector_lanes() -> int:
    """Return how many float32 this machine's vector registers hold."""
    return machine().vector_bytes // 4


def multiply_add_loop() -> Callable[[int], Any]:
    """Compile a loop of `CHAINS` independent vector multiply-adds in registers.

    Returns
    -------
    Callable
        Takes the number of iterations; one does ``CHAINS * vector_lanes() * 2`` operations. Runs
        without the interpreter's lock.
    """
    return _compiled(_multiply_adds(), ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64))


def _multiply_adds() -> str:
    """Write the loop: each chain tends to 2, so that nothing overflows or becomes subnormal."""
    lanes = vector_lanes()
    kind = f"<{lanes} x float>"

    def splat(value: float) -> str:
        return f"<{', '.join([f'float {value:e}'] * lanes)}>"

    starts = [
        f"%t{i} = phi {kind} [{splat(float(i))}, %entry], [%u{i}, %loop]" for i in range(CHAINS)
    ]
    if machine().fma:
        fma = f"@llvm.fma.v{lanes}f32"
        declared = f"declare {kind} {fma}({kind}, {kind}, {kind})"
        half, one = f"{kind} {splat(0.5)}", f"{kind} {splat(1.0)}"
        steps = [f"%u{i} = call {kind} {fma}({kind} %t{i}, {half}, {one})" for i in range(CHAINS)]
    else:
        declared = ""
        steps = [
            f"%p{i} = fmul {kind} %t{i}, {splat(0.5)}\n  %u{i} = fadd {kind} %p{i}, {splat(1.0)}"
            for i in range(CHAINS)
        ]
    sums = [
        f"%s{i} = fadd {kind} %{'u0' if i == 1 else f's{i - 1}'}, %u{i}" for i in range(1, CHAINS)
    ]
    return "\n  ".join(
        [
            f"{declared}\ndefine float @kernel(i64 %count) {attributes()} {{\nentry:",
            "br label %loop\nloop:",
            "%index = phi i64 [0, %entry], [%following, %loop]",
            *(*starts, *steps),
            "%following = add i64 %index, 1",
            "%more = icmp ult i64 %following, %count",
            "br i1 %more, label %loop, label %end\nend:",
            *sums,
            f"%result = extractelement {kind} %s{CHAINS - 1}, i64 0",
            "ret float %result\n}\n",
        ]
    )


def ping_pong_loop() -> Callable[[int, int, int], Any]:
    """Compile one side of a ping-pong between two threads over a shared counter.

    Returns
    -------
    Callable
        Takes the counter's address, the side (0 or 1) and the number of turns of this side: waits
        until the counter's parity is its own, then adds one. Never gives the processor up.
    """
    address = ctypes.c_void_p
    signature = ctypes.CFUNCTYPE(None, address, ctypes.c_int64, ctypes.c_int64)
    return _compiled(_PING_PONG, signature)


def _compiled(assembly: str, signature: Any) -> Callable[..., Any]:
    """Turn a module's function ``kernel`` into something callable that keeps its code alive."""
    code = from_objects(object_code(assembly))
    kernel = signature(code.address("kernel"))

    def call(*arguments: int) -> Any:
        assert code is not None  # holds the machine code for as long as `call` lives
        return kernel(*arguments)

    return call
