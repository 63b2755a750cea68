"""One module per library; each has ``prepare(case)``, which returns a `Task`.

A module imports its library where it uses it, so that it can itself be imported without. It raises
`Unsupported` for a workload that the library cannot express.
"""


class Unsupported(Exception):
    """A library cannot express a workload; the message says what is missing."""
