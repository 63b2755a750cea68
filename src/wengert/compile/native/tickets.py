"""The code by which threads share one call: tickets for chunks of work, and two entries.

Work is a list of rows; a row is a function to be called for each of its chunks. A thread takes
chunks of a row by advancing TICKET, and counts them in DONE when they are finished. The rows of a
phase do not depend on each other; a phase begins when all chunks of those before it are done. The
counters only ever grow. The calling thread therefore waits for a helper only while that helper
holds a chunk: one that is late, or never comes, finds the tickets gone and passes through. Which
thread runs a chunk never changes a result.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from wengert.compile.emit import layout
from wengert.compile.emit.ir import Module
from wengert.compile.native.tuning import add_tuning

SPINS = 256
"""How often a waiting thread looks before it lets others run: a few microseconds."""

LINGER = 2000
"""How often an idle helper looks for the next call: some tens of microseconds."""

LINGER_YIELDING = 100
"""How often it looks after that, letting others run in between, before it goes to sleep."""


class Row(NamedTuple):
    """Work without an order: `chunks` calls of a function, each with the chunk's number.

    Attributes
    ----------
    function : str
        Its name.
    chunks : int
        How many calls.
    phase : int
        The phase. A phase of one chunk is run by the calling thread.
    """

    function: str
    chunks: int
    phase: int


def widest(rows: Sequence[Row]) -> int:
    """Return how many threads can have work at one time: the most chunks of a phase, or 1."""
    chunks = Counter[int]()
    for row in rows:
        chunks[row.phase] += row.chunks
    return max(chunks.values(), default=1)


def add_runtime(
    module: Module, rows: list[Row], pointers: int, pause: tuple[str, str] | None
) -> None:
    """Add the entries ``run(control, pointers)`` and ``assist(control, thread)`` to the module.

    Parameters
    ----------
    module : Module
        It holds the functions that the rows name.
    rows : list of Row
        The work of one call, by phases.
    pointers : int
        How many addresses `run` is given.
    pause : tuple of str, or None
        The intrinsic by which a waiting processor saves power, and its argument.
    """
    module.declare("wengert_yield", "i32", ())
    module.declare("llvm.memcpy.p0.p0.i64", "void", ("ptr", "ptr", "i64", "i1 immarg"))
    spin = ""
    if pause is not None:
        name, argument = pause
        module.declare(name, "void", argument.split()[:1])
        spin = f"call void @{name}({argument})"
    module.add_text("take", _TAKE.format(**_cells()), hasty=True)
    module.add_text("await", _AWAIT.format(**_cells(), spins=SPINS, pause=spin), hasty=True)
    module.add_text("rows", _table(rows), hasty=True)
    total = sum(row.chunks for row in rows)
    module.add_text("step", _STEP.format(**_cells(), count=len(rows), total=total), hasty=True)
    module.add_text("go", _GO.format(**_cells()), hasty=True)
    add_tuning(module)
    module.add_text("run", _RUN.format(**_cells(), nbytes=8 * pointers), hasty=True)
    module.add_text(
        "assist",
        _ASSIST.format(**_cells(), linger=LINGER, patience=LINGER + LINGER_YIELDING, pause=spin),
        hasty=True,
    )


def _cells() -> dict[str, int]:
    return {
        "origin": layout.ORIGIN,
        "wanted": layout.WANTED,
        "ticket": layout.TICKET,
        "done": layout.DONE,
        "helpers": layout.HELPERS,
        "error": layout.ERROR,
        "scratch": layout.SCRATCH,
        "share": layout.SHARE,
        "table": layout.TABLE,
    }


def _table(rows: Sequence[Row]) -> str:
    """Return the constant that lists the rows.

    For each: the function; the first ticket, and the one after the last; how many tickets must be
    done before; whether it is for the calling thread.
    """
    entries = []
    limit = 0
    for _, group in itertools.groupby(rows, key=lambda row: row.phase):
        members = list(group)
        before, alone = limit, sum(row.chunks for row in members) == 1
        for row in members:
            first, limit = limit, limit + row.chunks
            numbers = ", ".join(f"i64 {n}" for n in (first, limit, before, int(alone)))
            entries.append(f"{_ROW} {{ ptr @{row.function}, {numbers} }}")
    return f"@rows = internal constant [{len(entries)} x {_ROW}] [{', '.join(entries)}]"


_ROW = "{ ptr, i64, i64, i64, i64 }"

_STEP = """define internal void @step(ptr %control, i64 %thread, i64 %origin) #0 {{
entry:
  %leads = icmp eq i64 %thread, 0
  %ticket = getelementptr i8, ptr %control, i64 {ticket}
  %done = getelementptr i8, ptr %control, i64 {done}
  %memory = getelementptr i8, ptr %control, i64 {scratch}
  %first_share = load ptr, ptr %memory
  %share_at = getelementptr i8, ptr %control, i64 {share}
  %share = load i64, ptr %share_at
  %distance = mul i64 %thread, %share
  %scratch = getelementptr i8, ptr %first_share, i64 %distance
  br label %row
row:
  %place = phi i64 [ 0, %entry ], [ %after, %over ]
  %more = icmp slt i64 %place, {count}
  br i1 %more, label %look, label %end
look:
  %entry1 = getelementptr {{ ptr, i64, i64, i64, i64 }}, ptr @rows, i64 %place
  %function = load ptr, ptr %entry1
  %entry2 = getelementptr i8, ptr %entry1, i64 8
  %first = load i64, ptr %entry2
  %entry3 = getelementptr i8, ptr %entry1, i64 16
  %last = load i64, ptr %entry3
  %entry4 = getelementptr i8, ptr %entry1, i64 24
  %before = load i64, ptr %entry4
  %entry5 = getelementptr i8, ptr %entry1, i64 32
  %alone = load i64, ptr %entry5
  %base = add i64 %origin, %first
  %limit = add i64 %origin, %last
  %due = add i64 %origin, %before
  %shared = icmp eq i64 %alone, 0
  %mine = or i1 %shared, %leads
  br i1 %mine, label %wait, label %over
wait:
  call void @await(ptr %control, i64 %due)
  br i1 %shared, label %next, label %lead
lead:
  call void %function(ptr %control, ptr %scratch, i64 0)
  store atomic i64 %limit, ptr %ticket release, align 8
  store atomic i64 %limit, ptr %done release, align 8
  br label %over
next:
  %taken = call i64 @take(ptr %control, i64 %limit)
  %none = icmp slt i64 %taken, 0
  br i1 %none, label %over, label %work
work:
  %chunk = sub i64 %taken, %base
  call void %function(ptr %control, ptr %scratch, i64 %chunk)
  %finished = atomicrmw add ptr %done, i64 1 acq_rel
  br label %next
over:
  %after = add i64 %place, 1
  br label %row
end:
  br i1 %leads, label %finish, label %out
finish:
  %all = add i64 %origin, {total}
  call void @await(ptr %control, i64 %all)
  br label %out
out:
  ret void
}}"""

_TAKE = """define internal i64 @take(ptr %control, i64 %limit) #0 {{
entry:
  %cell = getelementptr i8, ptr %control, i64 {ticket}
  %first = load atomic i64, ptr %cell acquire, align 8
  br label %look
look:
  %ticket = phi i64 [ %first, %entry ], [ %seen, %try ]
  %free = icmp slt i64 %ticket, %limit
  br i1 %free, label %try, label %none
try:
  %next = add i64 %ticket, 1
  %pair = cmpxchg ptr %cell, i64 %ticket, i64 %next acq_rel acquire
  %seen = extractvalue {{ i64, i1 }} %pair, 0
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %mine, label %look
mine:
  ret i64 %ticket
none:
  ret i64 -1
}}"""

_AWAIT = """define internal void @await(ptr %control, i64 %limit) #0 {{
entry:
  %cell = getelementptr i8, ptr %control, i64 {done}
  br label %look
look:
  %turns = phi i64 [ 0, %entry ], [ %more, %spin ], [ %more, %yield ]
  %seen = load atomic i64, ptr %cell acquire, align 8
  %over = icmp sge i64 %seen, %limit
  br i1 %over, label %end, label %wait
wait:
  %more = add i64 %turns, 1
  %short = icmp slt i64 %turns, {spins}
  br i1 %short, label %spin, label %yield
spin:
  {pause}
  br label %look
yield:
  %ignored = call i32 @wengert_yield()
  br label %look
end:
  ret void
}}"""

_RUN = """define i64 @run(ptr %control, ptr %pointers) #0 {{
  %table = getelementptr i8, ptr %control, i64 {table}
  call void @llvm.memcpy.p0.p0.i64(ptr %table, ptr %pointers, i64 {nbytes}, i1 false)
  %error = getelementptr i8, ptr %control, i64 {error}
  store atomic i64 0, ptr %error monotonic, align 8
  call void @tuned(ptr %control)
  %failure = load atomic i64, ptr %error monotonic, align 8
  ret i64 %failure
}}"""

_GO = """define internal void @go(ptr %control) #0 {{
  %ticket = getelementptr i8, ptr %control, i64 {ticket}
  %now = load atomic i64, ptr %ticket acquire, align 8
  %origin = getelementptr i8, ptr %control, i64 {origin}
  store atomic i64 %now, ptr %origin release, align 8
  call void @step(ptr %control, i64 0, i64 %now)
  ret void
}}"""

_ASSIST = """define void @assist(ptr %control, i64 %thread) #0 {{
entry:
  %helpers = getelementptr i8, ptr %control, i64 {helpers}
  %came = atomicrmw add ptr %helpers, i64 1 acq_rel
  %cell = getelementptr i8, ptr %control, i64 {origin}
  %wanted = getelementptr i8, ptr %control, i64 {wanted}
  br label %look
look:
  %last = phi i64 [ -1, %entry ], [ %origin, %work ], [ %last, %spin ], [ %last, %yield ]
  %turns = phi i64 [ 0, %entry ], [ 0, %work ], [ %more, %spin ], [ %more, %yield ]
  %origin = load atomic i64, ptr %cell acquire, align 8
  %most = load atomic i64, ptr %wanted acquire, align 8
  %welcome = icmp sle i64 %thread, %most
  br i1 %welcome, label %compare, label %end
compare:
  %fresh = icmp ne i64 %origin, %last
  br i1 %fresh, label %work, label %wait
work:
  call void @step(ptr %control, i64 %thread, i64 %origin)
  br label %look
wait:
  %more = add i64 %turns, 1
  %short = icmp slt i64 %turns, {linger}
  br i1 %short, label %spin, label %late
spin:
  {pause}
  br label %look
late:
  %leave = icmp sgt i64 %turns, {patience}
  br i1 %leave, label %end, label %yield
yield:
  %ignored = call i32 @wengert_yield()
  br label %look
end:
  %went = atomicrmw sub ptr %helpers, i64 1 acq_rel
  ret void
}}"""
