"""Installed packages that know nothing of Wengert are not looked through; others are."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader

import pytest

import wengert as wg
from wengert.compile.trace.foreign import is_foreign
from wengert.compile.trace.reach import Survey


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return what installs a package of one module, and imports it."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    names = []

    def install(name, text):
        (folder / f"{name}.py").write_text(text)
        names.append(name)
        return importlib.import_module(name)

    yield install
    for name in names:
        sys.modules.pop(name, None)


LARGE = "class Item:\n    def __init__(self):\n        self.parts = [object() for _ in range(50)]\n"


def test_what_others_installed_is_not_looked_through(installed):
    text = "ITEMS = [Item() for _ in range(100)]\ndef count():\n    return len(ITEMS)\n"
    package = installed("large_package", LARGE + text)

    def function(x):
        return x * package.count()

    assert is_foreign("large_package")
    assert is_foreign("large_package.part")
    assert len(Survey([function]).objects()) < 1000


def test_a_tensor_that_somebody_put_into_an_installed_package_is_found(installed):
    package = installed("keeps_things", "TABLE = {}\n")
    package.TABLE["scale"] = wg.tensor(2.0)
    step = wg.compile(lambda x: x * package.TABLE["scale"])
    assert is_foreign("keeps_things")
    assert step(wg.tensor(3.0)).item() == 6.0
    package.TABLE["scale"] = wg.tensor(10.0)
    assert step(wg.tensor(3.0)).item() == 30.0


def test_an_installed_package_that_uses_wengert_is_looked_through(installed):
    text = "import wengert as wg\nSCALE = wg.tensor(2.0)\ndef scaled(x):\n    return x * SCALE\n"
    package = installed("uses_wengert", text)
    step = wg.compile(lambda x: package.scaled(x) + 1.0)
    x = wg.tensor(3.0)
    assert not is_foreign("uses_wengert")
    assert step(x).item() == 7.0
    package.SCALE = wg.tensor(10.0)
    assert step(x).item() == 31.0


@pytest.mark.parametrize("name", ["json", "math", "numpy.linalg", "wengert.nn", "builtins", "os"])
def test_the_standard_library_numpy_and_wengert_hold_nothing_of_the_users(name):
    importlib.import_module(name)
    assert is_foreign(name)


@pytest.mark.parametrize("name", ["__main__", "no_such_module", "", None, __name__])
def test_programs_are_looked_through(name):
    assert not is_foreign(name)


def test_packages_may_put_anything_among_modules_and_variables(installed, monkeypatch):
    class Settings:
        """What is made when it is used."""

        @property
        def __class__(self):
            raise RuntimeError("settings are not configured")

    package = installed("odd_package", "")
    package.settings = Settings()
    monkeypatch.setitem(sys.modules, "odd_package.absent", None)
    monkeypatch.setitem(sys.modules, "odd_package.other", Settings())
    assert is_foreign("odd_package")


def test_modules_that_are_loaded_when_they_are_used_stay_as_they_are(installed, tmp_path):
    installed("lazy_package", "")
    path = tmp_path / "later.py"
    path.write_text("raise RuntimeError('loaded')\n")
    loader = importlib.util.LazyLoader(SourceFileLoader("lazy_package.later", str(path)))
    spec = importlib.util.spec_from_loader("lazy_package.later", loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["lazy_package.later"] = module
    try:
        loader.exec_module(module)
        assert is_foreign("lazy_package")
    finally:
        del sys.modules["lazy_package.later"]
