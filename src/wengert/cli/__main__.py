"""Run the command line: ``python -m wengert.cli``."""

from __future__ import annotations

from wengert.cli.main import main

main()
