"""What can be asked of `wengert bench`, and how mistakes are answered."""

import os

import pytest

from wengert.bench.choices import Lengths, check_threads, choose_peers, choose_workloads, parse_net
from wengert.bench.nets import NETS
from wengert.bench.workload import Workload
from wengert.data.errors import UserError


def test_two_small_networks_are_the_default():
    assert choose_workloads(()) == {"digits": NETS["digits"], "mnist": NETS["mnist"]}


def test_a_network_of_ones_own():
    found = choose_workloads((), "8-4-2", 5, optimizer="adam", activation="tanh", dropout=None)
    assert found == {"8-4-2": Workload((8, 4, 2), 5, activation="tanh", optimizer="adam")}
    assert choose_workloads((), "8-4-2")["8-4-2"].batch == 32


def test_a_named_network_with_differences():
    wide = choose_workloads(("wide",), batch=3, optimizer="momentum")["wide"]
    assert (wide.widths, wide.batch) == (NETS["wide"].widths, 3)
    assert wide.optimizer == "momentum"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("mnits",), {}, r"There is no network 'mnits': .* Did you mean 'mnist'\?"),
        (("mnist",), {"net": "2-2"}, "the name of a network or --net, not both: mnist and 2-2"),
        ((), {"net": "784"}, "two or more widths joined by dashes, .* such as 784-256-128-10"),
        ((), {"net": "784,10"}, "two or more widths joined by dashes, .* got '784,10'"),
        ((), {"net": "4--2"}, "got '4--2'"),
        ((), {"net": "4-0-2"}, "widths from 1 to 1,000,000, got 0"),
        ((), {"net": "4-1"}, "the number of classes, at least 2, got 1"),
        ((), {"batch": 0}, "--batch must be from 1 to 10,000,000, got 0"),
        ((), {"activation": "rellu"}, "relu, tanh or gelu, got 'rellu'. Did you mean 'relu'"),
        ((), {"optimizer": "rmsprop"}, "--optimizer must be sgd, momentum or adam"),
        ((), {"dropout": 1.0}, "--dropout must be at least 0 and below 1, got 1"),
    ],
)
def test_mistakes_are_one_sentence(arguments, options, message):
    with pytest.raises(UserError, match=message):
        choose_workloads(arguments, **options)


def test_libraries_are_separated_by_commas_or_asked_for_again():
    assert choose_peers(["numpy,jax", "torch"]) == ["wengert", "jax", "torch", "numpy"]
    assert choose_peers([]) == ["wengert"]


def test_an_unknown_library_is_refused():
    with pytest.raises(UserError, match=r"--against must be jax, .* Did you mean 'torch'\?"):
        choose_peers(["jax,troch"])


def test_threads_need_processors():
    with pytest.raises(UserError, match="--threads must be at least 1, got 0"):
        check_threads(0)
    if hasattr(os, "sched_getaffinity"):
        with pytest.raises(UserError, match="--threads 9999: only"):
            check_threads(9999)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [({"seconds": 0.0}, "--seconds must be above 0"), ({"rounds": 0}, "--rounds must be at least")],
)
def test_lengths_are_checked(lengths, message):
    with pytest.raises(UserError, match=message):
        Lengths(**lengths)


def test_widths_are_read_in_order():
    assert parse_net("3-4-5") == (3, 4, 5)
