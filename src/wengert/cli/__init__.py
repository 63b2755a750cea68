"""The command line: ``wengert train``, ``wengert predict``; it begins in `wengert.cli.main`."""
