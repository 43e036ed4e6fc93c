"""``plan`` explains itself, can be recomputed from its file, and raises what is asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Workspace

    from rebalancer.devchain.fork import DevChain


STRANGER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def write(place: Workspace, document: Any) -> str:
    path = place.folder / "plan.json"
    path.write_text(json.dumps(document))
    return str(path)


def policy(place: Workspace, *lines: str) -> None:
    """Put lines of policy in front of those that are there."""
    place.edit(place.portfolio, "policy:\n", "policy:\n" + "".join(f"  {x}\n" for x in lines))


def test_plan__picture_costs_and_waiting(drifted: Workspace) -> None:
    out = drifted.run("plan").out
    assert "█ kept  ░ sold  ▒ bought  │ target" in out
    weth = next(x for x in out.splitlines() if x.startswith("WETH ") and "█" in x)
    usdc = next(x for x in out.splitlines() if x.startswith("USDC ") and "█" in x)
    assert "░" in weth
    assert "▒" in usdc
    assert "Doing nothing" in out
    assert "if nothing is done: drift_aversion (kappa) 50.00% of the portfolio file" in out


def test_plan__verify__itself(drifted: Workspace) -> None:
    document = drifted.run("plan", "--json").json
    path = write(drifted, document)
    done = drifted.run("plan", "--verify", path, "--json")
    assert done.code == 0, done.err
    findings = {f["what"]: f["ok"] for f in done.json["findings"]}
    assert findings == dict.fromkeys(
        ("snapshot", "decision", "legs", "balances", "costs", "gas", "words", "portfolio"), True
    )
    offline = drifted.run("plan", "--verify", path, "--offline")
    assert offline.code == 0
    assert "snapshot" not in offline.out


def tamper_leg(document: Any) -> None:
    document["plan"]["legs"][0]["min_amount_out"] -= 1


def tamper_cost(document: Any) -> None:
    document["plan"]["costs"]["gas_e8"] -= 1


def tamper_price(document: Any) -> None:
    document["inputs"]["snapshot"]["prices"][0]["numerator"] += 1


def tamper_policy(document: Any) -> None:
    document["inputs"]["policy"]["slippage_ppm"] += 1


def tamper_words(document: Any) -> None:
    document["legs_in_words"][0] = "sell nothing"


def tamper_id(document: Any) -> None:
    document["plan_id"] = "00" * 32


def tamper_headline(document: Any) -> None:
    document["decision"] = "hold"


def tamper_waiting(document: Any) -> None:
    document["waiting"]["penalty_e8"] += 1


def tamper_why(document: Any) -> None:
    document["why"][0]["passed"] = False


def tamper_slices(document: Any) -> None:
    document["slices"]["worth_it"] = True


def tamper_fee(document: Any) -> None:
    document["inputs"]["snapshot"]["pairs"][0]["fee_ppm"] = -1


def tamper_ether(document: Any) -> None:
    document["inputs"]["snapshot"]["native"]["denominator"] = 0


@pytest.mark.parametrize(
    "tamper",
    [
        tamper_leg,
        tamper_cost,
        tamper_price,
        tamper_policy,
        tamper_words,
        tamper_id,
        tamper_headline,
        tamper_waiting,
        tamper_fee,
        tamper_ether,
    ],
)
def test_plan__verify__tampered__refused(drifted: Workspace, tamper: Any) -> None:
    document = drifted.run("plan", "--json").json
    tamper(document)
    done = drifted.run("plan", "--verify", write(drifted, document))
    assert done.code == 4
    assert "is not what its inputs give" in done.err


def test_plan__verify__what_is_told_beside(drifted: Workspace) -> None:
    """Answers, slices and an open order are no part of the decision: told truly or refused."""
    drifted.edit(drifted.portfolio, "policy:\n", "execution: {slices: 8, every: 5m}\npolicy:\n")
    document = drifted.run("plan", "--why-not", "--json").json
    assert not document["slices"]["worth_it"]
    done = drifted.run("plan", "--verify", write(drifted, document | {"order": {}}))
    assert done.code == 0, done.err
    assert "order        not recomputed" in done.out
    for tamper in (tamper_why, tamper_slices):
        other = json.loads(json.dumps(document))
        tamper(other)
        done = drifted.run("plan", "--verify", write(drifted, other))
        assert done.code == 4
        assert "words" in done.err


def test_plan__verify__another_chain_state(drifted: Workspace) -> None:
    """Consistent in itself, but not what the chain had at that block."""
    document = drifted.run("plan", "--json").json
    document["inputs"]["snapshot"]["native_wei"] += 1
    done = drifted.run("plan", "--verify", write(drifted, document), "--json")
    assert done.code == 4
    assert "snapshot" in done.err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "target: 40%",
            "target: 50%",
            "target of WETH 50.00 %, in the plan 40.00 %; target of WBTC 10.00 %, in the plan 20",
        ),
        ("max_cost: 2%", "max_cost: 1%", "max_cost_ppm 10000, in the plan 20000"),
        ("numeraire: USD", f'numeraire: USD\nwatch: ["{STRANGER}"]', f"watch {STRANGER}, in the"),
        ("# gas_reserve", "gas_reserve", "gas_reserve 50000000000000000 wei, in the plan none"),
        ("band: 3%", "band: 3%\n  cooldown: 7d", "cooldown_s 604800, in the plan 0"),
        ("target: 40%", "target: 40%, band: 9%", "WETH has other bands, bucket or multiplier"),
        ("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", STRANGER, f"wallet {STRANGER}, in the"),
    ],
    ids=["targets", "limit", "watch", "reserve", "rule", "band", "wallet"],
)
def test_plan__verify__portfolio_that_was_edited_since__says_what(
    drifted: Workspace, old: str, new: str, says: str
) -> None:
    path = write(drifted, drifted.run("plan", "--json").json)
    drifted.edit(drifted.portfolio, old, new)
    if old == "target: 40%" and "50%" in new:
        drifted.edit(drifted.portfolio, "WBTC, target: 20%", "WBTC, target: 10%")
    for options in ((), ("--offline",)):
        done = drifted.run("plan", "--verify", path, *options)
        assert done.code == 4
        assert "is true to itself, but not of this portfolio" in done.err
        assert says in done.err
        assert "FAIL portfolio" in done.out


def test_plan__verify__file_by_itself__needs_no_portfolio(drifted: Workspace) -> None:
    drifted.edit(drifted.portfolio, "policy:\n", "execution: {slices: 8, every: 5m}\npolicy:\n")
    document = drifted.run("plan", "--json").json
    assert "slices" in document
    path = write(drifted, document)
    drifted.portfolio.unlink()
    done = drifted.bare("plan", "--verify", path, "--offline")
    assert done.code == 0, done.err
    assert "portfolio    not compared: no portfolio file is here" in done.out
    assert "slices       not recomputed" in done.out
    read_again = drifted.bare("plan", "--verify", path)
    assert (read_again.code, "--offline" in read_again.err) == (2, True)
    tamper_leg(document)
    assert drifted.bare("plan", "--verify", write(drifted, document), "--offline").code == 4
    missing = drifted.run("plan", "--verify", path, "--offline")
    assert missing.code == 2, "a portfolio that was named has to be there"


def test_plan__verify__no_plan(workspace: Workspace) -> None:
    (workspace.folder / "x.json").write_text("{}")
    for name in ("x.json", "missing.json"):
        done = workspace.run("plan", "--verify", str(workspace.folder / name))
        assert done.code == 2


def test_plan__why_not__a_hold(workspace: Workspace) -> None:
    out = workspace.run("plan", "--why-not").out
    assert "HOLD" in out
    assert "no Is it time?" in out
    assert "(if it had come to that)" in out
    steps = workspace.run("plan", "--why-not", "--json").json["why"]
    assert [step["passed"] for step in steps][:2] == [False, True]


def test_plan__why_not__nothing_stands_in_the_way(drifted: Workspace) -> None:
    steps = drifted.run("plan", "--why-not", "--json").json["why"]
    assert [step["passed"] for step in steps] == [True] * 5


def test_plan__kappa_is_derived_and_shown(drifted: Workspace) -> None:
    drifted.edit(drifted.portfolio, "  drift_aversion: 50%", "  risk_aversion: 4")
    drifted.edit(drifted.portfolio, "  reset: 100%", "  reset: optimal")
    policy(drifted, "volatility: 60%")
    done = drifted.run("plan")
    assert done.code == 0, done.err
    assert "kappa" in done.out
    assert "= 2 J / s^2 of" in done.out
    assert "Cheapest bands, per year" in done.out
    document = drifted.run("plan", "--json").json
    waiting = document["waiting"]
    assert waiting["kappa_ppm"] == min(band["kappa_ppm"] for band in waiting["bands"])
    assert waiting["daily_e8"] * waiting["horizon_s"] // 86_400 == pytest.approx(
        waiting["penalty_e8"], rel=1e-3
    )
    # Status judges drifts by the bands that plan does, and not by the file's 3 %.
    derived = {band["name"]: band["trigger_ppm"] for band in waiting["bands"]}
    shown = {d["position"]: d["band_ppm"] for d in drifted.run("status", "--json").json["drifts"]}
    assert shown == derived
    assert 30_000 not in shown.values()


def test_plan__cron__refused_or_used(drifted: Workspace) -> None:
    drifted.edit(drifted.portfolio, "  every: 1h", '  cron: "0 9 * * 1"')
    out = drifted.run("plan").out
    assert "Never rebalanced yet, so the 0 9 * * 1 calendar is due" in out
    assert drifted.run("rebalance", "--execute", "--json").code == 0
    held = drifted.run("plan").out
    assert "the calendar '0 9 * * 1' (UTC) is not due for another" in held


def test_rebalance__raise__the_wallet_holds_it(drifted: Workspace, devchain: DevChain) -> None:
    policy(drifted, "max_turnover: 100%")
    wanted = 230_000 * 10**6
    document = drifted.run("rebalance", "--raise", "230000 USDC", "--execute", "--json").json
    plan = document["plan"]
    assert plan["withdrawal"]["raw"] == wanted
    status = drifted.run("status", "--json").json
    usdc = next(e for e in status["positions"] if e["name"] == "USDC")
    assert usdc["value_e8"] >= 230_000 * 10**8
    assert drifted.run("audit", "reconcile", "--json").json["ok"] is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("50000 XYZ", "mainnet has no token 'XYZ'"),
        ("USDC", "is not an amount and a token"),
        ("-1 USDC", "asks for nothing"),
        ("0.0000001 USDC", "decimals"),
        ("1 WETHH", "mainnet has no token 'WETHH'"),
        ("5 ETH", "way out: ask for WETH"),
        ("5 usdc", "way out: ask for USDC"),
        ("nan USDC", "'nan' is not a number"),
        ("inf USDC", "'inf' is not a number"),
        ("1,5 USDC", "'1,5' is not a number"),
    ],
)
def test_plan__raise__mistakes(workspace: Workspace, text: str, says: str) -> None:
    done = workspace.run("plan", "--raise", text)
    assert done.code == 2
    assert says in done.err
