"""Machine code kept on disk, so that a program compiles once and not at each start.

A folder holds one file for each key (see `identity`). A file is written beside its place and then
moved there, so that others see it whole or not at all; it is read only if it belongs to this user.
Whatever goes wrong with the folder, the code is compiled as if there were none.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
import warnings
from functools import lru_cache
from pathlib import Path

from wengert.compile.disk.record import Record, pack, unpack
from wengert.graph.errors import SettingError
from wengert.graph.source import stacklevel

LIMIT = 256 * 2**20
"""Bytes that a folder may hold, about: what was not used for longest is removed beyond."""

_RARELY = "0"
"""The limit is looked after when a key begins so, which is one time in 16."""
_ABANDONED = 3600
"""Seconds after which a half-written file is nobody's."""
_SUFFIX = ".code"
_HALF_WRITTEN = ".part"


class Folder:
    """A folder of entries.

    Parameters
    ----------
    path : Path
        Where it is; it need not exist.
    chosen : bool
        Whether the user named it, and will want to know that it cannot be used.
    """

    def __init__(self, path: Path, chosen: bool) -> None:
        self.path = path
        self._chosen = chosen
        self._warned = False

    def load(self, key: str) -> Record | None:
        """Return what is kept under `key`; None if nothing is, or nothing to be trusted."""
        path = self._place(key)
        try:
            with open(path, "rb", opener=_at_once) as file:
                if not _is_mine(os.fstat(file.fileno())):
                    return None
                entry = file.read()
        except OSError:
            return None
        record = unpack(entry, key)
        if record is not None:
            with contextlib.suppress(OSError):  # a folder that can only be read serves, too
                os.utime(path)
        return record

    def save(self, key: str, record: Record) -> None:
        """Keep a record under `key`, if that is possible."""
        entry = pack(record, key)
        if entry is None or len(entry) > LIMIT // 16:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._place(key), entry)
        except OSError as error:
            self._warn(error)
            return
        if key.startswith(_RARELY):
            self.sweep()

    def sweep(self) -> None:
        """Remove what was not used for longest, until a quarter of the limit is free again.

        Nothing is removed within the limit. Other processes may do the same at the same time.
        """
        found: list[tuple[float, int, str]] = []
        old = time.time() - _ABANDONED
        with contextlib.suppress(OSError), os.scandir(self.path) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if file.name.endswith(_SUFFIX):
                        found.append((status.st_mtime, status.st_size, file.path))
                    elif file.name.endswith(_HALF_WRITTEN) and status.st_mtime < old:
                        Path(file.path).unlink()
        total = sum(size for _, size, _ in found)
        if total <= LIMIT:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(OSError):
                Path(path).unlink()
            total -= size
            if total <= LIMIT * 3 // 4:
                break

    def _place(self, key: str) -> Path:
        return self.path / f"{key}{_SUFFIX}"

    def _write(self, path: Path, entry: bytes) -> None:
        half = path.with_name(f"{path.stem}-{os.getpid()}-{time.monotonic_ns()}{_HALF_WRITTEN}")
        try:
            with open(half, "xb", opener=_private) as file:
                file.write(entry)
            half.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                half.unlink()
            raise

    def _warn(self, error: OSError) -> None:
        if self._chosen and not self._warned:
            self._warned = True
            warnings.warn(
                f"compile: cannot keep machine code in the folder of WENGERT_CACHE_DIR, "
                f"{self.path} ({error.strerror}); it is compiled at each start. Name another "
                "folder, or set WENGERT_CACHE=0.",
                stacklevel=stacklevel(),
            )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting, as a pipe would let us do."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _is_mine(status: os.stat_result) -> bool:
    """Tell whether nobody but this user can have written a file: its content will be executed."""
    if not stat.S_ISREG(status.st_mode):
        return False
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def current() -> Folder | None:
    """Return the folder that is used now, or None.

    The environment variable ``WENGERT_CACHE_DIR`` names it; by default it is ``wengert`` in the
    platform's folder for caches. None if ``WENGERT_CACHE`` is 0, or ``WENGERT_CACHE_DIR`` is empty.

    Raises
    ------
    SettingError
        If ``WENGERT_CACHE`` is neither 0 nor 1.
    """
    switch = os.environ.get("WENGERT_CACHE") or "1"
    if switch not in {"0", "1"}:
        raise SettingError(f"WENGERT_CACHE must be 0 or 1, got {switch!r}.")
    chosen = os.environ.get("WENGERT_CACHE_DIR")
    where = _default() if chosen is None else chosen
    return _folder(where, chosen is not None) if where and switch == "1" else None


@lru_cache(maxsize=8)
def _folder(where: str, chosen: bool) -> Folder:
    return Folder(Path(where).absolute(), chosen)


def _default() -> str:
    """Return ``wengert`` in the platform's folder for caches; empty if there is no home."""
    try:
        home = Path.home()
    except RuntimeError:
        return ""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(home / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not Path(base).is_absolute():  # which the specification says to ignore
            base = str(home / ".cache")
    return str(Path(base) / "wengert")
