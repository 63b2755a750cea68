"""The code that finds out, while a program runs, whether helping threads are worth it.

Whether two threads are quicker than one depends on the machine and on what else runs on it: on
some, the processors are so far apart that a step of a hundred microseconds takes longer on two. So
now and then some calls are trials: blocks of calls on one thread, and of calls on all, take turns,
and are timed. The calls after that take what was quicker. Machines are noisy: whoever shares a
processor with this program can double the time of a call, for a second or for a millisecond. So the
next trials come later and later while they agree; if one does not, the next comes soon, and only if
it says the same the choice is changed. Steps of a few microseconds are left alone for good; the
longer calls are, the fewer are trials. No result depends on any of this.
"""

from __future__ import annotations

from wengert.compile.emit import layout
from wengert.compile.emit.ir import Module
from wengert.compile.emit.symbols import clock

BLOCK, LEAST = 16, 4
"""Calls of a block, and the fewest of one of long calls. The first half is not timed: helpers take
some time to come, and to leave, and find nothing of what they need in their caches."""

TRIALS = 8 * BLOCK
"""Trial calls in a row."""

LONG = 100_000, 400_000, 1_600_000, 6_400_000
"""Nanoseconds of a call from each of which on there are half as many trials, in shorter blocks."""

SHORT = 10_000
"""Nanoseconds of a call, on one thread, that are not shared."""

SOON, AGAIN = 50_000_000, 3_200_000_000
"""Nanoseconds of calls until the next trials: after a doubt, and the longest; otherwise it is four
times as long as the last time. The program begins in doubt: the first trials decide."""

RARE = 8
"""How many times as many calls as trials there are at least until the next trials."""

NEVER = 1 << 62
"""Of calls left until the next trials: none."""


def add_tuning(module: Module) -> None:
    """Add ``tuned(control)``, which carries out a call by ``go(control)``, to the module."""
    assert TRIALS >> len(LONG) >= 2 * LEAST, "each kind of call needs a block"
    arguments, first, second = clock()
    kinds = [argument.split()[0] for argument in arguments.split(", ")]
    module.declare("wengert_clock", "i32", kinds)
    module.declare("llvm.smin.i64", "i64", ("i64", "i64"))
    module.declare("llvm.smax.i64", "i64", ("i64", "i64"))
    module.add_text("now", _NOW.format(arguments=arguments, first=first, second=second), hasty=True)
    numbers = {
        "left": layout.LEFT,
        "spent": layout.SPENT,
        "quickest": layout.QUICKEST,
        "most": layout.MOST,
        "wanted": layout.WANTED,
        "chosen": layout.CHOSEN,
        "pause": layout.PAUSE,
        "block": BLOCK,
        "least": LEAST,
        "trials": TRIALS,
        "short": SHORT,
        "soon": SOON,
        "again": AGAIN,
        "rare": RARE,
        "halvings": layout.HALVINGS,
        "never": NEVER,
    }
    module.add_text("tuned", _TUNED.format(**numbers), hasty=True)
    numbers |= {f"long{place}": least for place, least in enumerate(LONG)}
    module.add_text("learn", _LEARN.format(**numbers), hasty=True)
    module.add_text("decide", _DECIDE.format(**numbers), hasty=True)


_NOW = """define internal i64 @now() #0 {{
  %time = alloca [2 x i64]
  store [2 x i64] zeroinitializer, ptr %time
  %ignored = call i32 @wengert_clock({arguments})
  %first = load i64, ptr %time
  %other = getelementptr i8, ptr %time, i64 8
  %second = load i64, ptr %other
  %large = mul i64 %first, {first}
  %small = mul i64 %second, {second}
  %sum = add i64 %large, %small
  ret i64 %sum
}}"""

_TUNED = """define internal void @tuned(ptr %control) #0 {{
entry:
  %cell = getelementptr i8, ptr %control, i64 {left}
  %left = load i64, ptr %cell
  %trial = icmp slt i64 %left, 0
  br i1 %trial, label %try, label %plain
plain:
  %fewer = sub i64 %left, 1
  %last = icmp eq i64 %left, 0
  %next = select i1 %last, i64 -{trials}, i64 %fewer
  store i64 %next, ptr %cell
  call void @go(ptr %control)
  ret void
try:
  %halvings_at = getelementptr i8, ptr %control, i64 {halvings}
  %halvings = load i64, ptr %halvings_at
  %trials = lshr i64 {trials}, %halvings
  %shorter = lshr i64 {block}, %halvings
  %block = call i64 @llvm.smax.i64(i64 %shorter, i64 {least})
  %number = add i64 %left, %trials
  %first = icmp eq i64 %number, 0
  br i1 %first, label %clear, label %choose
clear:
  %one = getelementptr i8, ptr %control, i64 {spent}
  store [2 x i64] zeroinitializer, ptr %one
  %quickest = getelementptr i8, ptr %control, i64 {quickest}
  store i64 {never}, ptr %quickest
  br label %choose
choose:
  %blocks = udiv i64 %number, %block
  %shared = and i64 %blocks, 1
  %cell2 = getelementptr i8, ptr %control, i64 {most}
  %most = load i64, ptr %cell2
  %some = mul i64 %shared, %most
  %wanted = getelementptr i8, ptr %control, i64 {wanted}
  store atomic i64 %some, ptr %wanted release, align 8
  %before = call i64 @now()
  call void @go(ptr %control)
  %after = call i64 @now()
  %spent = sub i64 %after, %before
  call void @learn(ptr %control, i64 %number, i64 %shared, i64 %spent)
  ret void
}}"""

_LEARN = """define internal void @learn(ptr %control, i64 %number, i64 %shared, i64 %spent) #0 {{
entry:
  %left = getelementptr i8, ptr %control, i64 {left}
  %one = getelementptr i8, ptr %control, i64 {spent}
  %all = getelementptr i64, ptr %one, i64 1
  %following = add i64 %number, 1
  %halvings_at = getelementptr i8, ptr %control, i64 {halvings}
  %second = icmp eq i64 %number, 1
  br i1 %second, label %measure, label %go
measure:
  %long0 = icmp sge i64 %spent, {long0}
  %long1 = icmp sge i64 %spent, {long1}
  %long2 = icmp sge i64 %spent, {long2}
  %long3 = icmp sge i64 %spent, {long3}
  %half0 = zext i1 %long0 to i64
  %half1 = zext i1 %long1 to i64
  %half2 = zext i1 %long2 to i64
  %half3 = zext i1 %long3 to i64
  %some0 = add i64 %half0, %half1
  %some1 = add i64 %half2, %half3
  %found = add i64 %some0, %some1
  store i64 %found, ptr %halvings_at
  br label %go
go:
  %halvings = load i64, ptr %halvings_at
  %trials = lshr i64 {trials}, %halvings
  %shorter = lshr i64 {block}, %halvings
  %block = call i64 @llvm.smax.i64(i64 %shorter, i64 {least})
  %half = lshr i64 %block, 1
  %more = sub i64 %following, %trials
  store i64 %more, ptr %left
  %within = urem i64 %number, %block
  %counted = icmp uge i64 %within, %half
  br i1 %counted, label %count, label %look
count:
  %quickest = getelementptr i8, ptr %control, i64 {quickest}
  %old = load i64, ptr %quickest
  %new = call i64 @llvm.smin.i64(i64 %old, i64 %spent)
  store i64 %new, ptr %quickest
  %bound = shl i64 %new, 3
  %some = call i64 @llvm.smin.i64(i64 %spent, i64 %bound)
  %cell = getelementptr i64, ptr %one, i64 %shared
  %sum = load i64, ptr %cell
  %total = add i64 %sum, %some
  store i64 %total, ptr %cell
  br label %look
look:
  %alone = load i64, ptr %one
  %together = load i64, ptr %all
  %first = icmp eq i64 %following, %block
  %limit = mul i64 %half, {short}
  %little = icmp slt i64 %alone, %limit
  %give = and i1 %first, %little
  br i1 %give, label %leave, label %ask
leave:
  store i64 {never}, ptr %left
  ret void
ask:
  %over = icmp eq i64 %following, %trials
  br i1 %over, label %weigh, label %end
weigh:
  store i64 0, ptr %halvings_at
  call void @decide(ptr %control, i64 %trials, i64 %alone, i64 %together)
  ret void
end:
  ret void
}}"""

_DECIDE = """define internal void @decide(
  ptr %control, i64 %trials, i64 %alone, i64 %together
) #0 {{
entry:
  %mine = mul i64 %together, 20
  %theirs = mul i64 %alone, 19
  %better = icmp slt i64 %mine, %theirs
  %most_at = getelementptr i8, ptr %control, i64 {most}
  %most = load i64, ptr %most_at
  %found = select i1 %better, i64 %most, i64 0
  %chosen_at = getelementptr i8, ptr %control, i64 {chosen}
  %before = load i64, ptr %chosen_at
  %pause_at = getelementptr i8, ptr %control, i64 {pause}
  %pause = load i64, ptr %pause_at
  %agreed = icmp eq i64 %found, %before
  %doubtful = icmp eq i64 %pause, {soon}
  %longer = shl i64 %pause, 2
  %calmer = call i64 @llvm.smin.i64(i64 %longer, i64 {again})
  %settled = or i1 %agreed, %doubtful
  %next = select i1 %settled, i64 %calmer, i64 {soon}
  store i64 %next, ptr %pause_at
  %confirmed = select i1 %doubtful, i64 %found, i64 %before
  %chosen = call i64 @llvm.smin.i64(i64 %confirmed, i64 %most)
  store i64 %chosen, ptr %chosen_at
  %wanted = getelementptr i8, ptr %control, i64 {wanted}
  store atomic i64 %chosen, ptr %wanted release, align 8
  %timed = lshr i64 %trials, 2
  %all = mul i64 %next, %timed
  %least = call i64 @llvm.smin.i64(i64 %alone, i64 %together)
  %divisor = add i64 %least, 1
  %calls = udiv i64 %all, %divisor
  %fewest = mul i64 %trials, {rare}
  %rest = call i64 @llvm.smax.i64(i64 %calls, i64 %fewest)
  %left = getelementptr i8, ptr %control, i64 {left}
  store i64 %rest, ptr %left
  ret void
}}"""
