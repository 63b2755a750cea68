"""One module per library; each has ``prepare(case)``, which returns a `Task`.

A module imports its library at the top: where the library is absent the worker says so and the
peer is skipped.
"""
