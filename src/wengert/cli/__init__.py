"""The command line, ``wengert train``, ``predict``, ``bench``; see `wengert.cli.main`."""
