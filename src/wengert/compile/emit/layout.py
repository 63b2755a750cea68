"""The control block: what the threads that run one executable share, in one piece of memory.

Byte offsets of 64-bit words. Words that different threads write stand in cache lines of their own.

* LEFT: how many calls are left until the number of threads is looked at again; negative: how many
  trial calls are (see `tuning`).
* SPENT: the nanoseconds that trial calls took on one thread, and after it on all.
* QUICKEST: the nanoseconds of the quickest trial call.
* HALVINGS: how often trials are halved, since calls are long.
* CHOSEN: how many helping threads there are in calls that are no trials.
* PAUSE: the nanoseconds of calls from the last trials to the next.
* MOST: how many helping threads there may be.
* ORIGIN: the value of TICKET at which the call under way began.
* WANTED: how many helping threads take part in the call under way.
* TICKET: how many chunks of work have been taken, ever; a thread takes one by compare-and-swap.
* DONE: how many chunks have been finished, ever.
* HELPERS: how many helping threads are inside.
* ERROR: the failure of the call, 0 if none.
* ARENA: the address of the arena.
* SCRATCH, SHARE: the address of the memory that threads have for themselves, and the bytes of each.
* TABLE: the addresses of inputs, outputs and constants, from here on.
"""

LEFT = 0
SPENT = 8
QUICKEST = 24
MOST = 32
HALVINGS = 40
CHOSEN = 48
PAUSE = 56
ORIGIN = 64
WANTED = 72
TICKET = 128
DONE = 192
HELPERS = 256
ERROR = 320
ARENA = 328
SCRATCH = 336
SHARE = 344
TABLE = 352

ALIGNMENT = 64
"""Bytes: a cache line, and the longest vector. Of the control block and of each buffer."""
