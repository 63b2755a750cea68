"""Run directories: whole or not there, numbered, never in place of something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wengert.data import UserError
from wengert.train.rundir import (
    CONFIG,
    FORMAT,
    VERSION,
    Destination,
    digest,
    read_checked,
    read_config,
    run_name,
    staged,
    to_json_text,
    write_file,
    write_file_whole,
)


def write_config(folder, **more):
    write_file(folder / CONFIG, to_json_text({"format": FORMAT, "version": VERSION, **more}))


def finish(destination, content="new"):
    with staged(destination) as (stage, final):
        write_config(stage)
        write_file(stage / "content", content)
        assert not (final / "content").exists() or (final / "content").read_text() != content
    return final


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_run_appears_whole(tmp_path):
    final = finish(Destination(tmp_path / "deep" / "er" / "run"))
    assert everything(final) == [CONFIG, "content"]
    assert everything(tmp_path / "deep" / "er") == ["run", f"run/{CONFIG}", "run/content"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("numbered", [False, True])
def test_a_failure_leaves_nothing_not_even_parents(tmp_path, error, numbered):
    def fail():
        with staged(Destination(tmp_path / "a" / "b", numbered)) as (stage, _):
            write_config(stage)
            raise error

    with pytest.raises(error):
        fail()
    assert everything(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    def write():
        with staged(Destination(tmp_path / "run")) as (stage, _):
            write_config(stage)
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"--out .*run cannot be written: No space left on device"):
        write()
    assert everything(tmp_path) == []


def test_numbers_go_up_and_skip_what_is_there(tmp_path):
    destination = Destination(tmp_path / "digits", numbered=True)
    assert finish(destination).name == "digits-1"
    assert finish(destination).name == "digits-2"
    (tmp_path / "digits-3").write_text("a file")
    assert finish(destination).name == "digits-4"


def test_trainings_that_run_together_get_numbers_of_their_own(tmp_path):
    destination = Destination(tmp_path / "digits", numbered=True)
    with staged(destination) as (_, first), staged(destination) as (_, second):
        assert (first.name, second.name) == ("digits-1", "digits-2")


def test_an_existing_run_is_kept_unless_forced(tmp_path):
    path = tmp_path / "run"
    finish(Destination(path), "old")
    with pytest.raises(UserError, match=r"--out .*run exists; .* replace it with --force"):
        finish(Destination(path), "new")
    assert (path / "content").read_text() == "old"
    finish(Destination(path, force=True), "new")
    assert (path / "content").read_text() == "new"
    assert everything(tmp_path) == ["run", f"run/{CONFIG}", "run/content"]


def test_a_failed_replacement_keeps_the_old_run(tmp_path, monkeypatch):
    path = tmp_path / "run"
    finish(Destination(path), "old")
    rename = Path.rename

    def fail_for_stage(self, target):
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_stage)
    with pytest.raises(UserError, match="Input/output error"):
        finish(Destination(path, force=True), "new")
    assert (path / "content").read_text() == "old"
    assert everything(tmp_path) == ["run", f"run/{CONFIG}", "run/content"]


def test_force_replaces_runs_only(tmp_path):
    path = tmp_path / "precious"
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds something else than a run: --force does not"):
        finish(Destination(path, force=True))
    assert everything(path) == ["thesis.txt"]


def test_an_empty_directory_may_be_filled(tmp_path):
    (tmp_path / "run").mkdir()
    assert everything(finish(Destination(tmp_path / "run"))) == [CONFIG, "content"]


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_places_without_a_name_are_refused(name):
    with pytest.raises(UserError, match="has no name of its own"):
        finish(Destination(Path(name)))


def test_a_file_is_no_place_for_a_run(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UserError, match=r"--out .*file is a file"):
        finish(Destination(file, force=True))
    with pytest.raises(UserError, match=r"--out .*run cannot be written: Not a directory"):
        finish(Destination(file / "run"))
    assert file.read_text() == "x"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            finish(Destination(tmp_path / "run"))
    finally:
        tmp_path.chmod(0o700)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    write_file_whole(path, "old")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"--out .*out\.csv cannot be written: No space left"):
        write_file_whole(path, "new")
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["out.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"is not a run of `wengert train`: it has no config\.json"),
        ("{", r"config\.json is damaged: it is not JSON"),
        ("[]", r"is not a run of `wengert train`: its config\.json is foreign"),
        ('{"format": "other"}', r"its config\.json is foreign"),
        (f'{{"format": "{FORMAT}", "version": 99}}', r"has run format 99, this program reads 1"),
    ],
)
def test_what_is_no_run(tmp_path, content, message):
    if content is not None:
        (tmp_path / CONFIG).write_text(content)
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


def test_a_missing_run_and_a_file(tmp_path):
    with pytest.raises(UserError, match=r"There is no run .*none\."):
        read_config(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"is a file; give the directory that `wengert train` wr"):
        read_config(tmp_path / "file")


def test_files_are_checked_by_their_digest(tmp_path):
    write_file(tmp_path / "a", "content")
    config = {"sha256": {"a": digest("content")}}
    assert read_checked(tmp_path, "a", config) == b"content"
    write_file(tmp_path / "a", "Content")
    with pytest.raises(UserError, match=r"a is not the file that training wrote"):
        read_checked(tmp_path, "a", config)
    with pytest.raises(UserError, match=r"is not the file that training wrote"):
        read_checked(tmp_path, "a", {})
    with pytest.raises(UserError, match=r"is incomplete: it has no b\."):
        read_checked(tmp_path, "b", config)


@pytest.mark.parametrize(
    ("text", "name"),
    [("digits", "digits"), ("x/Häuser 2.csv", "H-user-2"), ("...", "data"), ("", "data")],
)
def test_runs_are_named_after_their_data(text, name):
    assert run_name(text) == name
