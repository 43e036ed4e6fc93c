"""The command line as a whole: every verb on a portfolio works where it is told to."""

from __future__ import annotations

import re

import pytest

from rebalancer.cli.main import main

ELSEWHERE = ("init", "fork", "demo")
SEVERAL = ("status", "keeper")
ON_A_PORTFOLIO = (
    *("doctor", "plan", "rebalance", "approve", "pause", "resume", "deploy", "propose"),
    *("delegate", "delegation", "revoke", "audit gas", "audit reconcile", "order list"),
    *("order show", "order stop", "order resume", "order cancel"),
)


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main([*verb.split(), "--help"])
    assert not left.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", [*ON_A_PORTFOLIO, *SEVERAL])
def test_every_verb_on_a_portfolio__takes_the_place_where_it_works(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = help_of(verb, capsys)
    for option in ("-p, --portfolio FILE", "--networks FILE", "--rpc-url URL", "--ledger PATH"):
        assert option in told
    assert "--json" in told


@pytest.mark.parametrize("verb", [*ON_A_PORTFOLIO, *SEVERAL, *ELSEWHERE])
def test_every_option__says_what_it_takes_in_a_word_of_its_own(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``BLOCK``, not ``<int range>``."""
    assert not re.findall(r"--[a-z-]+ <.*", help_of(verb, capsys))


def test_the_list_above_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    listed = help_of("", capsys).partition("Commands:")[2]
    names = {
        line.split()[0]
        for line in listed.splitlines()
        if line.startswith("  ") and line[2:3].strip()
    }
    assert names == {verb.split()[0] for verb in (*ON_A_PORTFOLIO, *SEVERAL, *ELSEWHERE)}


def test_verb__with_a_place__hands_its_own_options_on(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["approve", "abcdef0123", "-p", f"{tmp_path}/none.yaml", "--for", "2h"])
    assert left.value.code == 2
    assert "none.yaml does not exist" in capsys.readouterr().err
