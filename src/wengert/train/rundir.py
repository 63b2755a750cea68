"""The run directory: what a training leaves behind, written whole or not at all.

All files are first written and flushed to disk in a hidden sibling directory whose name ends in
``.partial``; one rename then gives it its name. A run that fails or is killed leaves at most such a
hidden directory, which is never taken for a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wengert.data.errors import UserError

CONFIG = "config.json"
PREPROCESSING = "preprocessing.json"
METRICS = "metrics.csv"
WEIGHTS = "model.safetensors"
CURVE = "curve.svg"
FORMAT = "wengert-run"
VERSION = 1


@dataclass(frozen=True)
class Destination:
    """Where a run goes.

    Attributes
    ----------
    path : Path
        The run directory; if `numbered`, its name without the number.
    numbered : bool
        Whether ``-1``, ``-2``, … is appended to get a name that is free.
    force : bool
        Whether a run that is already there is replaced.
    """

    path: Path
    numbered: bool = False
    force: bool = False


def run_name(text: str) -> str:
    """Return a directory name made from a data set's or a file's name.

    Examples
    --------
    >>> run_name("my data/House prices.csv")
    'House-prices'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(text).stem).strip("-.") or "data"


@contextlib.contextmanager
def staged(destination: Destination) -> Iterator[tuple[Path, Path]]:
    """Give a hidden directory to write a run into, and rename it at the end.

    Parameters
    ----------
    destination : Destination
        Where the run goes.

    Yields
    ------
    stage : Path
        The directory to write into.
    final : Path
        The name that it gets when the block ends without an exception. After an exception the
        stage is removed, and so are the parent directories made for it.

    Raises
    ------
    UserError
        If the place is taken or cannot be written to.
    """
    refuse_taken(destination)
    parent = destination.path.parent
    made: list[Path] = []
    stage: Path | None = None
    try:
        try:
            _make_parents(parent, made)
            stage, final = _reserve(destination)
        except OSError as error:
            raise UserError(
                f"--out {destination.path} cannot be written: {error.strerror or error}."
            ) from None
        yield stage, final
        _publish(stage, final, destination)
    except BaseException as error:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise UserError(
                f"--out {destination.path} cannot be written: {error.strerror or error}."
            ) from None
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file and flush it to disk."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_file_whole(path: Path, content: str) -> None:
    """Write a file that appears under its name only when it is whole.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            write_file(partial, content)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error.strerror or error}.") from None


def to_json_text(value: Mapping[str, Any]) -> str:
    """Return a value as readable JSON with a final newline."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def digest(content: str | bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a finished run.

    Raises
    ------
    UserError
        If `path` is no run directory, or was written by a program of another version.
    """
    if not path.exists():
        raise UserError(f"There is no run {path}.")
    if not path.is_dir():
        raise UserError(f"{path} is a file; give the directory that `wengert train` wrote.")
    try:
        config = json.loads((path / CONFIG).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is not a run of `wengert train`: it has no {CONFIG}.") from None
    except OSError as error:
        raise UserError(f"{path / CONFIG} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path / CONFIG} is damaged: it is not JSON.") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UserError(f"{path} is not a run of `wengert train`: its {CONFIG} is foreign.")
    if config.get("version") != VERSION:
        raise UserError(
            f"{path} has run format {config.get('version')}, this program reads {VERSION}."
        )
    return config


def read_checked(path: Path, name: str, config: Mapping[str, Any]) -> bytes:
    """Return the content of one file of a run, if it is as training wrote it.

    Raises
    ------
    UserError
        If the file is missing or was changed.
    """
    file = path / name
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise UserError(f"The run {path} is incomplete: it has no {name}.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from None
    sums = config.get("sha256")
    if not isinstance(sums, dict) or sums.get(name) != digest(content):
        raise UserError(
            f"{file} is not the file that training wrote: its SHA-256 is not the one in {CONFIG}; "
            "it may be truncated or tampered with."
        )
    return content


def refuse_taken(destination: Destination) -> None:
    """Raise a UserError if a run cannot go to a place because something is there."""
    path = destination.path
    if path.name in ("", ".."):
        raise UserError(f"--out {path} has no name of its own; name a new directory.")
    if destination.numbered or not os.path.lexists(path):
        return
    if not path.is_dir():
        raise UserError(f"--out {path} is a file; name a directory that does not exist.")
    if not any(path.iterdir()):
        return
    if not destination.force:
        raise UserError(f"--out {path} exists; name another directory, or replace it with --force.")
    # --force must never delete anything but a run: not a project, not a home directory.
    try:
        read_config(path)
    except UserError:
        raise UserError(
            f"--out {path} holds something else than a run: --force does not replace it."
        ) from None


def _make_parents(parent: Path, made: list[Path]) -> None:
    """Make a directory and those above it, noting which ones were made."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        made.append(folder)


def _reserve(destination: Destination) -> tuple[Path, Path]:
    """Make the hidden directory, and with it reserve a number if one is wanted."""
    path = destination.path
    if not destination.numbered:
        stage = _hidden_sibling(path, "partial")
        stage.mkdir()
        return stage, path
    number = 1
    while True:
        final = path.with_name(f"{path.name}-{number}")
        stage = path.with_name(f".{final.name}.partial")
        # mkdir is atomic: two trainings that start together get two numbers.
        if not os.path.lexists(final):
            with contextlib.suppress(FileExistsError):
                stage.mkdir()
                return stage, final
        number += 1


def _publish(stage: Path, final: Path, destination: Destination) -> None:
    """Give the finished directory its name, in place of an older run if that was asked for."""
    _flush_directory(stage)
    refuse_taken(Destination(final, force=destination.force))
    if not final.exists():
        stage.rename(final)
    else:
        older = _hidden_sibling(final, "old")
        final.rename(older)
        try:
            stage.rename(final)
        except BaseException:
            older.rename(final)
            raise
        shutil.rmtree(older, ignore_errors=True)
    _flush_directory(final.parent)


def _hidden_sibling(path: Path, ending: str) -> Path:
    """Return a free hidden name beside `path`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{ending}")


def _flush_directory(path: Path) -> None:
    """Flush a directory's entries to disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
