"""The native compiler: graphs become machine code through llvmlite.

From the user's function to a call of native code: `trace` finds out what the function takes and
reaches, `lowering` turns its graph into `kernels`, which `emit` LLVM assembly; `native` makes one
executable of them, that `disk` keeps and `call` lets Python run.
"""
