"""Nested containers of tensors: tuples, lists, dicts, named tuples, dataclasses and modules.

The work is done by the library `optree`; it is imported when first used, since programs that only
call `backward` do not need it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

NAMESPACE = "wengert"

_registering = threading.Lock()
_registered: set[type] = set()
_plain: set[type] = set()
"""The types of leaves met so far that are no containers."""


def register(
    kind: type,
    flatten: Callable[[Any], tuple[Sequence[Any], Any]],
    unflatten: Callable[[Any, Sequence[Any]], Any],
) -> None:
    """Make instances of `kind` containers: ``flatten`` gives children and a static remainder."""
    import optree

    with _registering:
        if kind in _registered:
            return
        optree.register_pytree_node(
            kind,
            lambda tree: tuple(flatten(tree)),
            lambda rest, children: unflatten(rest, tuple(children)),
            namespace=NAMESPACE,
        )
        _registered.add(kind)
        _plain.discard(kind)


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """Return the leaves of `tree` and its structure."""
    import optree

    while True:
        leaves, spec = optree.tree_flatten(tree, namespace=NAMESPACE)
        if _plain.issuperset(map(type, leaves)):
            return leaves, spec
        for kind in set(map(type, leaves)) - _plain:
            if hasattr(kind, "__wengert_flatten__") or hasattr(kind, "__dataclass_fields__"):
                _register_container(kind)
            else:
                _plain.add(kind)


def unflatten(spec: Any, leaves: Iterable[Any]) -> Any:
    """Return the container of structure `spec` that holds `leaves`."""
    import optree

    return optree.tree_unflatten(spec, leaves)


def map_leaves(function: Callable[..., Any], tree: Any) -> Any:
    """Return `tree` with `function` applied to each leaf."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [function(leaf) for leaf in leaves])


def modules(tree: Any) -> list[Any]:
    """Return the modules in `tree`, without those that they hold."""
    import optree

    found = optree.tree_leaves(tree, is_leaf=_is_module, namespace=NAMESPACE)
    return [part for part in found if _is_module(part)]


def _is_module(part: Any) -> bool:
    return hasattr(part, "__wengert_flatten__")


def prefix_leaves(prefix: Any, tree: Any) -> list[Any]:
    """Return, for each leaf of `tree`, what stands at or above its place in `prefix`.

    In `prefix`, None is a leaf.

    Raises
    ------
    ValueError
        If `prefix` has other containers than `tree`, or goes deeper.
    """
    import optree

    flatten(tree), flatten(prefix)  # so that their containers are known
    found = optree.broadcast_prefix(prefix, tree, none_is_leaf=True, namespace=NAMESPACE)
    leaves = optree.tree_leaves(tree, none_is_leaf=True, namespace=NAMESPACE)
    return [given for given, leaf in zip(found, leaves, strict=True) if leaf is not None]


def paths(tree: Any) -> list[str]:
    """Return a readable path for each leaf, such as ``".w"`` or ``"[0]['bias']"``."""
    import optree

    flatten(tree)
    found = optree.tree_paths(tree, namespace=NAMESPACE, none_is_leaf=False)
    return ["".join(f"[{part!r}]" for part in path) for path in found]


def _register_container(kind: type) -> None:
    if hasattr(kind, "__wengert_flatten__"):
        register(kind, kind.__wengert_flatten__, kind.__wengert_unflatten__)  # type: ignore[attr-defined]
        return
    import dataclasses

    names = [field.name for field in dataclasses.fields(kind)]

    def rebuild(_: Any, children: Sequence[Any]) -> Any:
        # Not through __init__, which need not take all fields, and may change them.
        made: Any = object.__new__(kind)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(made, name, child)
        return made

    register(kind, lambda tree: ([getattr(tree, name) for name in names], None), rebuild)
