"""The benchmark of import times: what its text says of bytecode must hold."""

from benchmarks import import_time


def test_bytecode_is_warm_even_where_it_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "probe.py").write_text("")
    import_time.import_seconds("probe")
    assert list(tmp_path.glob("__pycache__/probe.*.pyc"))
