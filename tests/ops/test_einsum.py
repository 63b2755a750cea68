"""Einstein's notation in every form that NumPy reads, eager, compiled and of lanes."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg

FORMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("jiji->i", (2, 3, 2, 3)),
    ("iij->j", (3, 3, 2)),
    ("ba", (2, 3)),
    ("...->...", (2, 3)),
    ("...", ()),
    ("...i->...", (2, 3)),
    ("i...->...", (2, 3)),
    ("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 4)),
    ("...ij,jk", (0, 2, 3), (3, 4)),
    ("...a,...a->...", (2, 1, 3), (4, 3)),
    ("ij,ij->ij", (2, 3), (1, 3)),
    ("ij,ij->", (2, 1), (1, 3)),
    ("i,i,i->i", (3,), (1,), (3,)),
    ("ii,ij", (3, 3), (3, 2)),
    (",->", (), ()),
    ("aB , Bc -> ac", (2, 3), (3, 2)),
]


@pytest.mark.parametrize("case", FORMS, ids=lambda case: f"{case[0]}{case[1:]}")
def test_forms(case):
    spec, *shapes = case
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    tensors = [wg.asarray(a) for a in arrays]
    wanted = np.einsum(spec.replace(" ", ""), *arrays)
    for function in (
        wg.einsum,
        lambda spec, *xs: wg.compile(lambda *ys: wg.einsum(spec, *ys))(*xs),
    ):
        np.testing.assert_allclose(function(spec, *tensors).numpy(), wanted, rtol=1e-12)
    lanes = [wg.asarray(np.stack([a, 2 * a])) for a in arrays]
    batched = wg.vmap(lambda *xs: wg.einsum(spec, *xs))(*lanes)
    wide = np.stack([wanted, 2 ** len(arrays) * wanted])
    np.testing.assert_allclose(batched.numpy(), wide, rtol=1e-12)


@pytest.mark.parametrize("case", FORMS, ids=lambda case: f"{case[0]}{case[1:]}")
def test_derivatives_of_forms(case):
    """An einsum is linear in each operand: its differential is itself, of a direction."""
    spec, *shapes = case
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    plain = spec.replace(" ", "")
    weights = np.asarray(rng.standard_normal(np.shape(np.einsum(plain, *arrays))))
    gradients = wg.grad(
        lambda *xs: wg.sum(wg.einsum(spec, *xs) * weights), argnums=tuple(range(len(shapes)))
    )(*map(wg.asarray, arrays))
    for place, gradient in enumerate(gradients):
        direction = np.asarray(rng.standard_normal(shapes[place]))
        moved = [direction if i == place else a for i, a in enumerate(arrays)]
        expected = np.sum(np.einsum(plain, *moved) * weights)
        np.testing.assert_allclose(np.sum(gradient.numpy() * direction), expected, rtol=1e-11)


def test_a_trace_differentiated():
    assert wg.grad(lambda x: wg.einsum("ii", x))(wg.ones((2, 2))).tolist() == [[1, 0], [0, 1]]
