"""A command group for which every mistake ends with one sentence and its exit code."""

from __future__ import annotations

import contextlib
import io
import os
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
        _prepare_streams()
        try:
            code = super().main(*args, **kwargs)
        except click.ClickException as error:
            fail(error.format_message())
        except click.Abort:
            stop("Stopped by Ctrl-C.")
        except OSError as error:
            _let_go_of_output()
            fail(f"The output cannot be written: {error.strerror or error}.")
        except MemoryError:
            fail("There is not enough memory for this network and these rows.")
        except ValueError as error:
            from wengert.data.errors import UserError
            from wengert.graph.errors import SettingError

            if not isinstance(error, UserError | SettingError):
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


def _let_go_of_output() -> None:
    """Send what is still buffered for standard output nowhere, so that it fails no second time."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_streams() -> None:
    """Replace streams that are closed, and let narrow encodings write question marks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
