import numpy as np
import pytest

import wengert as wg
from wengert.graph import memory


def address(t):
    return t.detach().numpy().__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(256,), (16, 16), (3, 5, 97)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_begin_with_a_line_of_the_cache(shape, dtype):
    for _ in range(5):
        made = memory.zeros(shape, dtype)
        assert made.ctypes.data % memory.ALIGNMENT == 0
        assert made.shape == shape
        assert made.dtype == dtype
        assert not made.any()


def test_a_copy_has_its_rows_side_by_side():
    value = np.arange(600.0).reshape(20, 30).T
    copy = memory.copied(value)
    assert copy.flags.carray
    assert np.array_equal(copy, value)
    assert not np.may_share_memory(copy, value)


@pytest.mark.parametrize("length", [0, 1, 255, 4096])
def test_whole_arrays_own_their_memory_and_parts_do_not(length):
    whole = memory.zeros((length,), np.float32)
    assert memory.owns(whole)
    assert not memory.owns(whole[:])
    assert not memory.owns(whole.reshape(-1, 1)[:, 0])


@pytest.mark.parametrize("make", [wg.tensor, lambda data: wg.nn.Parameter(wg.tensor(data))])
def test_tensors_and_parameters_are_aligned(make):
    for _ in range(4):
        assert address(make(np.ones((33, 65), np.float32))) % memory.ALIGNMENT == 0


def test_a_change_in_place_needs_no_new_memory():
    x = wg.tensor(np.ones(1000))
    before = address(x)
    x += 1
    x.mul_(2)
    assert address(x) == before
    assert np.array_equal(x.numpy(), np.full(1000, 4.0))


@pytest.mark.parametrize("detached", [False, True])
def test_memory_lent_to_numpy_shows_changes_and_comes_back(detached):
    x = wg.tensor(np.ones(1000))
    y = x.detach() if detached else None
    shown = x.numpy()
    x += 1
    assert shown[0] == 2
    shown[1] = 7
    assert x[1].item() == 7
    part = shown[10:20]
    del shown
    x += 1
    assert part[0] == 3
    del part, y
    before = address(x)
    x += 1
    assert address(x) == before


def test_another_tensor_keeps_its_value_when_memory_is_lent():
    x = wg.tensor(np.ones(1000))
    z = x[2:5]
    shown = x.numpy()
    shown[:] = 5
    assert np.array_equal(z.numpy(), np.ones(3))


def test_gradients_of_two_leaves_do_not_share_memory():
    x, y = (wg.tensor(np.ones(1000), requires_grad=True) for _ in range(2))
    (x + y).sum().backward()
    x.grad += 1
    assert np.array_equal(y.grad.numpy(), np.ones(1000))


def test_what_compiled_functions_return_and_train_is_aligned():
    layer = wg.nn.Linear(64, 32)
    optimizer = wg.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)

    @wg.compile
    def step(x):
        optimizer.zero_grad()
        y = layer(x)
        (y * y).mean().backward()
        optimizer.step()
        return y

    x = wg.tensor(np.ones((64, 64), np.float32))
    held = [step(x) for _ in range(3)]
    momentum = optimizer.state[layer.weight]["momentum_buffer"]
    for t in (*held, layer.weight, layer.weight.grad, momentum):
        assert address(t) % memory.ALIGNMENT == 0
