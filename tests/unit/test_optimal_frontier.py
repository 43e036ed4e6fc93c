"""A certificate's tree cut to few leaves: proves almost as much, and no more than is true."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from optimal_world import market

from rebalancer.planner.optimal import frontier
from rebalancer.planner.optimal.branch import Limits
from rebalancer.planner.optimal.certificate import certificate, plan
from rebalancer.planner.optimal.frontier import most_leaves, shortened
from rebalancer.planner.optimal.verify import verify

SEEDS = (1, 3, 4)


@cache
def planned(seed):
    return plan(market(seed, 8, 20, kappa=0.5, gas=1.5), Limits(gap_e8=0, nodes=300))


def leaves(found):
    return sum(1 for _ in found.answer.root.leaves())


def gap_e8(text):
    return verify(text)["gap_e8"]


@pytest.mark.parametrize("seed", SEEDS)
def test_it_keeps_the_gap_to_a_tenth_with_no_more_leaves(seed):
    whole = planned(seed)
    short = shortened(whole)
    text = certificate(short)
    assert gap_e8(text) <= 1.1 * gap_e8(certificate(whole)) + 20
    assert abs(gap_e8(text) - short.gap_e8) <= 10 + whole.statement.nav_e8 // 10**10
    assert leaves(short) <= leaves(whole)
    assert (short.legs, short.realised_e8) == (whole.legs, whole.realised_e8)


def test_some_tree_is_cut_by_two_fifths():
    assert (
        min(leaves(shortened(planned(seed))) / leaves(planned(seed)) for seed in (*SEEDS, 7)) <= 0.6
    )


@pytest.mark.parametrize("most", [1, 2, 5, 11])
@pytest.mark.parametrize("seed", SEEDS)
def test_within_as_many_leaves_as_are_allowed_it_proves_the_most(monkeypatch, seed, most):
    whole = planned(seed)
    monkeypatch.setattr(frontier, "_MOST_SUMMED", most * 29)
    assert most_leaves(whole) <= most
    short = shortened(whole)
    assert leaves(short) <= most
    text = certificate(short)
    root = gap_e8(certificate(whole, whole=False))
    assert gap_e8(certificate(whole)) - 20 <= gap_e8(text) <= root
    if most == 1:
        assert gap_e8(text) == root
    monkeypatch.setattr(frontier, "_MOST_SUMMED", (most - 1 or 1) * 29)
    assert gap_e8(certificate(shortened(whole))) >= gap_e8(text)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leaf_of_the_cut_tree_is_a_node_of_the_whole_one(seed):
    whole, short = planned(seed), shortened(planned(seed))
    waiting = [(whole.answer.root, short.answer.root)]
    while waiting:
        node, kept = waiting.pop()
        assert np.array_equal(node.prices, kept.prices)
        if kept.used is not None:
            assert kept.item == node.item
            waiting += [(node.used, kept.used), (node.unused, kept.unused)]


@pytest.mark.parametrize("most_bytes", [3_000, 6_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_tree_takes_no_more_bytes_than_are_allowed(monkeypatch, seed, most_bytes):
    whole = planned(seed)
    monkeypatch.setattr(frontier, "_MOST_BYTES", most_bytes)
    text = certificate(shortened(whole))
    assert verify(text)
    assert len(json.dumps(json.loads(text)["tree"])) <= most_bytes
    assert leaves(shortened(whole)) >= most_bytes // 700
