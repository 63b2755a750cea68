"""LLVM itself: the machine at hand, and machine code from assembly. The only user of llvmlite."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import llvmlite
from llvmlite import binding

from wengert.compile.emit.machine import Machine, asked_for
from wengert.compile.emit.symbols import symbols
from wengert.graph.errors import SettingError

_USUAL, _HASTY = 1, 0
"""Levels of code generation: the assembly is optimal enough not to need passes over the module."""

_LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64": ("sse2",),
    "x86-64-v3": ("sse2", "avx", "avx2", "fma", "bmi2"),
}
"""Processors that others can be, and the features by which those are known."""


@lru_cache(maxsize=1)
def _target() -> Any:
    """Prepare LLVM for this machine; return the target and the processor's features."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    if sys.platform == "linux":
        with contextlib.suppress(RuntimeError):  # where libc holds the mathematical functions
            binding.load_library_permanently("libm.so.6")
    return binding.Target.from_default_triple()


class _Processor(NamedTuple):
    """What code is generated for: a name and features in LLVM's words, and those that matter."""

    name: str
    flags: str
    features: Mapping[str, bool]


@lru_cache(maxsize=1)
def _host() -> _Processor:
    """Return the processor at hand, with all that it has."""
    features: Any = {}
    with contextlib.suppress(RuntimeError):  # unknown to LLVM for this kind of processor
        features = binding.get_host_cpu_features()
    flags = features.flatten() if features else ""
    return _Processor(binding.get_host_cpu_name(), flags, dict(features))


def processors() -> tuple[str, ...]:
    """Return the lesser processors that the one at hand can be, as LLVM calls them."""
    if not _target().triple.startswith("x86_64"):
        return ()
    has = _host().features
    return tuple(name for name, needs in _LEVELS.items() if all(has.get(need) for need in needs))


def _processor() -> _Processor:
    """Return the processor to generate code for: the one at hand, unless a lesser is asked for."""
    chosen = asked_for()
    if not chosen:
        return _host()
    if chosen not in processors():
        known = ", ".join(processors()) or "none"
        raise SettingError(f"WENGERT_CPU={chosen}: this processor can stand for {known} only.")
    return _Processor(chosen, "", dict.fromkeys(_LEVELS[chosen], True))


def machine() -> Machine:
    """Return what code is shaped for."""
    features = _processor().features
    if features.get("avx512f"):
        return Machine(64, 32, True, True, avx512=True)
    if features.get("avx"):
        return Machine(32, 16, bool(features.get("fma")), False)
    if features.get("neon") or _target().triple.startswith(("aarch64", "arm64")):
        return Machine(16, 32, True, False)
    return Machine(16, 16, False, False)


def attributes() -> str:
    """Return the attributes that functions need to use the machine's longest vectors."""
    if not _processor().features.get("avx512f"):
        return ""
    return '"prefer-vector-width"="512" "min-legal-vector-width"="512"'


def pause() -> tuple[str, str] | None:
    """Return the intrinsic by which a waiting processor saves power, and its argument, or None."""
    triple = _target().triple
    if triple.startswith(("x86_64", "i386", "i686")):
        return "llvm.x86.sse2.pause", ""
    if triple.startswith(("aarch64", "arm64")):
        return "llvm.aarch64.hint", "i32 1"
    return None


def _target_machine(cpu: str, flags: str, level: int = _USUAL) -> Any:
    return _target().create_target_machine(
        cpu=cpu, features=flags, opt=level, codemodel="jitdefault"
    )


@lru_cache(maxsize=4)
def _generator(cpu: str, flags: str, level: int) -> Any:
    """Return what generates code, and keeps two thirds of a megabyte of what it knows of `cpu`."""
    return _target_machine(cpu, flags, level)


def identity() -> str:
    """Return what code depends on besides its assembly: processor, system, version of LLVM."""
    versions = f"llvmlite {llvmlite.__version__} llvm {binding.llvm_version_info}"
    return " ".join((versions, _target().triple, *_processor()[:2], f"opt={_USUAL},{_HASTY}"))


def object_code(assembly: str, hasty: str = "", cpu: str = "") -> tuple[bytes, ...]:
    """Return the object code of modules, for `from_objects` to load, also in another process.

    Parameters
    ----------
    assembly, hasty : str
        A module, and one that calls it, for which code is to be generated quickly rather than well.
    cpu : str
        The processor to make code for, as LLVM calls it; without it, the one at hand.
    """
    processor = (cpu, "") if cpu else _processor()[:2]
    texts = {_USUAL: assembly, _HASTY: hasty}
    return tuple(
        _generated(text, _generator(*processor, level)) for level, text in texts.items() if text
    )


def _generated(assembly: str, generator: Any) -> bytes:
    """Return what a generator makes of a module."""
    module = binding.parse_assembly(assembly)
    module.triple = _target().triple
    module.data_layout = str(generator.target_data)
    code: bytes = generator.emit_object(module)
    return code


class MachineCode:
    """Object code that LLVM has put into memory, ready to run; freed with this object.

    Parameters
    ----------
    objects : sequence of bytes
        It was generated for a machine with this `identity`.
    """

    def __init__(self, objects: Sequence[bytes]) -> None:
        for name, address in symbols().items():
            binding.add_symbol(name, address)
        machine = _target_machine(*_processor()[:2])
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        for code in objects:
            self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function starts."""
        return int(self._engine.get_function_address(name))
