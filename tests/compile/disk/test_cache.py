"""Machine code on disk: when it is found again, when it is not, and that nothing can go wrong."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import F, graph_of, reference, results_of, run, same_bits
from wengert.compile.disk import cache, identity
from wengert.compile.disk.record import Record
from wengert.compile.native import translate
from wengert.compile.native.executable import compile_graph

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)


def program(x):
    return F.tanh(F.matmul(x, np.ones((4, 2)))) * 2.0 + np.arange(6.0).reshape(3, 2)


def entries(folder):
    return sorted(folder.glob("*.code"))


# --- Found again ----------------------------------------------------------------------------------


def test_the_same_graph_is_compiled_once_and_gives_the_same_bits(folder, generated):
    first = results_of(program, X)
    assert len(generated) == len(entries(folder)) == 1
    for _ in range(2):
        same_bits(results_of(program, X), first)
    assert len(generated) == len(entries(folder)) == 1
    np.testing.assert_allclose(first[0], reference(graph_of(program, X), [X])[0], rtol=1e-13)


def test_nothing_is_lowered_for_code_that_is_found(folder, generated, monkeypatch):
    first = results_of(program, X)
    monkeypatch.setattr(translate, "prepare", None)
    monkeypatch.setattr(translate, "generate", None)
    same_bits(results_of(program, X), first)


def test_one_entry_serves_any_number_of_threads(folder, generated):
    x = np.random.default_rng(0).standard_normal((300, 200))
    y = np.random.default_rng(1).standard_normal((200, 100))
    graph = graph_of(lambda x, y: F.tanh(F.matmul(x, y)), x, y)
    made = [compile_graph(graph, {}, threads) for threads in (1, 2, 3)]
    assert [m.threads for m in made] == [1, 2, 3]
    assert len(generated) == 1
    for other in made[1:]:
        same_bits(run(other, graph, [x, y]), run(made[0], graph, [x, y]))
    small = graph_of(lambda x: x * 2.0, X)
    assert [compile_graph(small, {}, 2).threads for _ in range(2)] == [1, 1]


def test_a_training_step_goes_on_with_code_that_is_found(folder, generated):
    def losses():
        wg.manual_seed(0)
        model = wg.nn.Sequential(wg.nn.Linear(4, 8), wg.nn.ReLU(), wg.nn.Dropout(0.2))
        optimizer = wg.optim.Adam(model.parameters(), lr=0.01)

        @wg.compile
        def step(x):
            loss = wg.sum(model(x) ** 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return [step(wg.ones((3, 4))).item() for _ in range(5)]

    first = losses()
    count = len(generated)
    assert losses() == first
    assert len(generated) == count >= 1


def test_constants_are_those_of_the_graph_at_hand(folder, generated):
    table = np.arange(12.0).reshape(3, 4)
    results_of(lambda x: x + table, X)
    (entry,) = entries(folder)
    assert table.tobytes() not in entry.read_bytes()
    same_bits(results_of(lambda x: x + table.copy(), X), [X + table])
    assert len(generated) == 1


def test_nothing_is_kept_if_the_compiler_changes_while_it_runs(folder, generated, monkeypatch):
    plain = translate.translate

    def edited(*arguments):
        monkeypatch.setattr(identity, "_digest_now", lambda: "another")
        return plain(*arguments)

    monkeypatch.setattr(translate, "translate", edited)
    results_of(program, X)
    assert len(generated) == 1
    assert not folder.exists()


# --- Damage ---------------------------------------------------------------------------------------


def damaged(entry, place):
    return entry[:place] + bytes([entry[place] ^ 0x40]) + entry[place + 1 :]


@pytest.mark.parametrize("place", [0, 10, 30, 80, -500, -1])
def test_a_damaged_entry_is_made_again(folder, generated, place):
    first = results_of(program, X)
    (path,) = entries(folder)
    entry = path.read_bytes()
    path.write_bytes(damaged(entry, place % len(entry)))
    same_bits(results_of(program, X), first)
    assert len(generated) == 2
    assert path.read_bytes() == entry
    same_bits(results_of(program, X), first)
    assert len(generated) == 2


@pytest.mark.parametrize("content", [b"", b"WENGERT1", b"\x7fELF" * 100, os.urandom(4096)])
def test_a_foreign_file_is_replaced(folder, generated, content):
    first = results_of(program, X)
    (path,) = entries(folder)
    entry = path.read_bytes()
    path.write_bytes(content)
    same_bits(results_of(program, X), first)
    assert len(generated) == 2
    assert path.read_bytes() == entry


def test_an_entry_under_the_name_of_another_is_not_taken_for_it(folder, generated):
    results_of(program, X)
    (path,) = entries(folder)
    results_of(lambda x: x - 1.0, X)
    (other,) = set(entries(folder)) - {path}
    path.write_bytes(other.read_bytes())
    same_bits(results_of(program, X), results_of(program, X))
    assert len(generated) == 3


def test_a_folder_or_a_pipe_in_the_place_of_an_entry_does_no_harm(folder, generated):
    first = results_of(program, X)
    (path,) = entries(folder)
    path.unlink()
    path.mkdir()
    with pytest.warns(UserWarning, match="cannot keep machine code"):
        same_bits(results_of(program, X), first)
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        same_bits(results_of(program, X), first)
        assert path.is_file()


# --- Whose files ----------------------------------------------------------------------------------

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners of files")


@posix
def test_the_folder_and_its_files_are_for_this_user_alone(folder):
    before = os.umask(0)
    try:
        results_of(program, X)
    finally:
        os.umask(before)
    (path,) = entries(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_not_loaded(folder, generated, mode):
    results_of(program, X)
    (path,) = entries(folder)
    path.chmod(mode)
    results_of(program, X)
    assert len(generated) == 2
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_a_file_of_somebody_else_is_not_loaded(folder, generated, monkeypatch):
    results_of(program, X)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    results_of(program, X)
    assert len(generated) == 2


# --- A folder that cannot be used -----------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_reported_once_if_the_user_named_it(
    folder, generated, monkeypatch
):
    folder.write_text("a file")
    with pytest.warns(UserWarning, match="cannot keep machine code in the folder of WENGERT"):
        results_of(program, X)
    results_of(program, X)  # a second warning would be an error
    assert len(generated) == 2
    assert folder.read_text() == "a file"


def test_the_report_names_the_line_of_the_user(folder):
    folder.write_text("a file")
    with pytest.warns(UserWarning, match="cannot keep machine code") as found:
        wg.compile(lambda x: x - 3.0)(wg.ones(3))
    assert [warning.filename for warning in found] == [__file__]


def test_a_folder_that_can_only_be_read_serves(folder, generated, monkeypatch):
    def read_only(path):
        raise OSError(30, "Read-only file system")

    first = results_of(program, X)
    monkeypatch.setattr(os, "utime", read_only)
    same_bits(results_of(program, X), first)
    assert len(generated) == 1


def test_the_folder_by_default_fails_in_silence(folder, generated, monkeypatch):
    folder.write_text("a file")
    monkeypatch.setattr(cache, "current", lambda: cache.Folder(folder, chosen=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results_of(program, X)
    assert len(generated) == 1


def test_a_full_disk_leaves_no_half_written_file(folder, generated, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.warns(UserWarning, match=r"No space left on device\); it is compiled"):
        first = results_of(program, X)
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("WENGERT_CACHE", "0")
    same_bits(results_of(program, X), first)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_cannot_be_written_is_read(folder, generated):
    results_of(program, X)
    folder.chmod(0o500)
    try:
        results_of(program, X)
    finally:
        folder.chmod(0o700)
    assert len(generated) == 1


# --- Size -----------------------------------------------------------------------------------------


def fill(folder, count, size):
    folder.mkdir()
    paths = [folder / f"{n:040}.code" for n in range(count)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes(size))
        os.utime(path, (1000 + n, 1000 + n))
    return paths


def test_what_was_not_used_for_longest_is_removed_beyond_the_limit(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 1000)
    paths = fill(folder, 12, 100)
    os.utime(paths[0])
    cache.Folder(folder, chosen=True).sweep()
    assert entries(folder) == [paths[0], *paths[6:]]


def test_nothing_is_removed_within_the_limit(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 1000)
    paths = fill(folder, 10, 100)
    cache.Folder(folder, chosen=True).sweep()
    assert entries(folder) == paths


def test_one_key_in_16_leads_to_a_look_at_the_limit(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 16 * 1000)
    paths = fill(folder, 20, 1000)
    made = cache.Folder(folder, chosen=True)
    for digit in "123456789abcdef":
        made.save(digit * 40, Record((b"code",), (), (), 0, 0, 1))
    assert len(entries(folder)) == len(paths) + 15
    made.save("0" * 40, Record((b"code",), (), (), 0, 0, 1))
    assert sum(path.stat().st_size for path in entries(folder)) <= 12 * 1000
    assert made.load("f" * 40) is not None


def test_loading_counts_as_use(folder, generated):
    results_of(program, X)
    (path,) = entries(folder)
    os.utime(path, (1000, 1000))
    results_of(program, X)
    assert path.stat().st_mtime > 1000
    assert len(generated) == 1


def test_what_is_too_large_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 16 * 1000)
    cache.Folder(folder, chosen=True).save("1" * 40, Record((bytes(1001),), (), (), 0, 0, 1))
    assert not folder.exists()


def test_abandoned_files_are_removed_and_foreign_ones_are_left(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 0)
    fill(folder, 1, 100)
    names = ("old.part", "new.part", "notes.txt")
    for name in names:
        (folder / name).write_text("")
    os.utime(folder / "old.part", (1000, 1000))
    os.utime(folder / "notes.txt", (1000, 1000))
    cache.Folder(folder, chosen=True).sweep()
    assert sorted(path.name for path in folder.iterdir()) == ["new.part", "notes.txt"]


def test_files_that_vanish_meanwhile_do_no_harm(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 100)
    paths = fill(folder, 5, 100)
    listed = list(os.scandir(folder))
    paths[0].unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: contextlib.nullcontext(listed))
        patch.setattr("pathlib.Path.unlink", lambda path: (path / "missing").stat())
        cache.Folder(folder, chosen=True).sweep()
    assert entries(folder) == paths[1:]
    cache.Folder(folder / "missing", chosen=True).sweep()


# --- Switches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("WENGERT_CACHE", "0"), ("WENGERT_CACHE_DIR", "")])
def test_it_can_be_switched_off(folder, generated, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    results_of(program, X)
    results_of(program, X)
    assert len(generated) == 2
    assert not folder.exists()


def test_another_switch_is_an_error(folder, monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", "off")
    with pytest.raises(ValueError, match="WENGERT_CACHE must be 0 or 1, got 'off'"):
        results_of(program, X)


def test_the_tests_of_the_compiler_use_no_folder():
    assert cache.current() is None


@pytest.mark.parametrize(
    ("system", "variables", "wanted"),
    [
        ("linux", {}, "/ada/.cache/wengert"),
        ("linux", {"XDG_CACHE_HOME": "/big/cache"}, "/big/cache/wengert"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/ada/.cache/wengert"),
        ("darwin", {}, "/ada/Library/Caches/wengert"),
        ("win32", {"LOCALAPPDATA": "/ada/Local"}, "/ada/Local/wengert"),
        ("win32", {}, "/ada/AppData/Local/wengert"),
    ],
)
@posix
def test_the_folder_is_where_the_platform_keeps_caches(monkeypatch, system, variables, wanted):
    for name in ("WENGERT_CACHE", "WENGERT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/ada")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert cache.current().path.as_posix() == wanted


# --- Several processes ----------------------------------------------------------------------------

SEVERAL = """
import sys
import numpy as np
import wengert as wg
from wengert.compile.emit import llvm

made = []
plain = llvm.object_code
def counted(*assembly):
    made.append(assembly)
    return plain(*assembly)
llvm.object_code = counted

print("ready", flush=True)
sys.stdin.readline()
x = wg.tensor(np.linspace(-1.0, 1.0, 12).reshape(3, 4))
total = 0.0
for n in range(4):
    f = wg.compile(lambda x: wg.sum(wg.tanh(x @ x.mT) * (n + 1)))
    total += f(x).item()
print(total.hex(), len(made))
"""


def start():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SEVERAL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def test_processes_that_compile_at_once_share_whole_entries(folder):
    processes = [start() for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [process.communicate() for process in processes]
    assert [error for _, error in found] == [""] * 3
    assert len({out.split()[0] for out, _ in found}) == 1
    assert len(entries(folder)) == len(list(folder.iterdir())) == 4
    late, error = start().communicate("\n")
    assert error == ""
    assert late.split()[1:] == [found[0][0].split()[0], "0"], "another process compiles nothing"
