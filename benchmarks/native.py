"""Two small loops in machine code that gauge the machine: multiply-adds and a ping-pong."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir

CHAINS = 12
"""Independent accumulators: enough to hide the latency, few enough for sixteen registers."""

_INT = ir.IntType(64)
_FLOAT = ir.FloatType()


def vector_lanes() -> int:
    """Return how many float32 this machine's vector registers hold."""
    features = binding.get_host_cpu_features()
    return next((n for name, n in (("avx512f", 16), ("avx", 8)) if features.get(name)), 4)


def has_fma() -> bool:
    """Tell whether this machine fuses a multiplication and an addition (every ARM64 does)."""
    features = binding.get_host_cpu_features()
    return bool(features.get("fma") or features.get("neon"))


def multiply_add_loop() -> Callable[[int], Any]:
    """Compile a loop of `CHAINS` independent vector multiply-adds in registers.

    Returns
    -------
    Callable
        Takes the number of iterations; one does ``CHAINS * vector_lanes() * 2`` operations. Runs
        without the interpreter's lock.
    """
    vector = ir.VectorType(_FLOAT, vector_lanes())
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(_FLOAT, [_INT]), "kernel")
    builder = ir.IRBuilder(function.append_basic_block())
    entry, loop, end = builder.block, function.append_basic_block(), function.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    # Each chain tends to 2 and stays there: neither overflow nor subnormal numbers.
    half, one = (ir.Constant(vector, [v] * vector.count) for v in (0.5, 1.0))
    index = builder.phi(_INT)
    sums = [builder.phi(vector) for _ in range(CHAINS)]
    if has_fma():
        name = f"llvm.fma.v{vector.count}f32"
        fma = ir.Function(module, ir.FunctionType(vector, [vector] * 3), name)
        new = [builder.call(fma, [total, half, one]) for total in sums]
    else:
        new = [builder.fadd(builder.fmul(total, half), one) for total in sums]
    following = builder.add(index, _INT(1))
    index.add_incoming(_INT(0), entry)
    index.add_incoming(following, loop)
    for chain, (total, updated) in enumerate(zip(sums, new, strict=True)):
        total.add_incoming(ir.Constant(vector, [float(chain)] * vector.count), entry)
        total.add_incoming(updated, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, function.args[0]), loop, end)
    builder.position_at_end(end)
    total = new[0]
    for other in new[1:]:
        total = builder.fadd(total, other)
    builder.ret(builder.extract_element(total, _INT(0)))
    return _compiled(module, ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64))


def ping_pong_loop() -> Callable[[int, int, int], Any]:
    """Compile one side of a ping-pong between two threads over a shared counter.

    Returns
    -------
    Callable
        Takes the counter's address, the side (0 or 1) and the number of turns of this side: waits
        until the counter's parity is its own, then adds one. Never gives the processor up.
    """
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [_INT, _INT, _INT])
    function = ir.Function(module, kind, "kernel")
    address, side, turns = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    counter = builder.inttoptr(address, _INT.as_pointer())
    last = builder.add(side, builder.mul(builder.sub(turns, _INT(1)), _INT(2)))
    entry, wait = builder.block, function.append_basic_block()
    turn, end = function.append_basic_block(), function.append_basic_block()
    builder.branch(wait)
    builder.position_at_end(wait)
    mine = builder.phi(_INT)
    mine.add_incoming(side, entry)
    mine.add_incoming(mine, wait)
    seen = builder.load_atomic(counter, "acquire", 8)
    builder.cbranch(builder.icmp_unsigned("==", seen, mine), turn, wait)
    builder.position_at_end(turn)
    builder.store_atomic(builder.add(mine, _INT(1)), counter, "release", 8)
    following = builder.add(mine, _INT(2))
    mine.add_incoming(following, turn)
    builder.cbranch(builder.icmp_unsigned("<=", following, last), wait, end)
    builder.position_at_end(end)
    builder.ret_void()
    address_type = ctypes.c_void_p
    signature = ctypes.CFUNCTYPE(None, address_type, ctypes.c_int64, ctypes.c_int64)
    return _compiled(module, signature)


def _compiled(module: ir.Module, signature: Any) -> Callable[..., Any]:
    """Turn a module's function ``kernel`` into something callable that keeps its code alive."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
    )
    module.triple = target.triple
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    kernel = signature(engine.get_function_address("kernel"))

    def call(*arguments: int) -> Any:
        assert engine is not None  # holds the machine code for as long as `call` lives
        return kernel(*arguments)

    return call
