"""A command group for which every mistake ends with one sentence and its exit code."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

BAD_INPUT = 2
INTERRUPTED = 130


class OneSentenceGroup(click.Group):
    """A group of commands that ends bad input with one sentence and exit code 2.

    Ctrl-C ends with exit code 130; no end shows a traceback, unless Wengert itself is at fault.
    """

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit."""
        kwargs["standalone_mode"] = False
        _write_any_sign()
        try:
            code = super().main(*args, **kwargs)
        except click.ClickException as error:
            fail(error.format_message())
        except click.Abort:
            stop("Stopped by Ctrl-C.")
        except MemoryError:
            fail("There is not enough memory for this network and these rows.")
        except ValueError as error:
            from wengert.data.errors import UserError

            if not isinstance(error, UserError):
                raise
            fail(str(error))
        sys.exit(code if isinstance(code, int) else 0)


def fail(message: str) -> NoReturn:
    """Write one sentence to standard error and exit with code 2."""
    _end(f"Error: {message}", BAD_INPUT)


def stop(message: str) -> NoReturn:
    """Write one sentence to standard error and exit with code 130, as after Ctrl-C."""
    _end(message, INTERRUPTED)


def _end(message: str, code: int) -> NoReturn:
    """Write a message as one line, whatever names of columns it quotes, and exit."""
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)


def _write_any_sign() -> None:
    """Let streams of a narrow encoding write a question mark for signs that they have not."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
