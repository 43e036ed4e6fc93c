"""Where things stand: what is out, what may be taken, who runs the wallet's code, who said stop."""

from __future__ import annotations

from rebalancer.bundler import checks
from rebalancer.bundler.delegation import delegate_of
from rebalancer.bundler.executor import EXECUTOR, WALLET_EXECUTOR
from rebalancer.config.execution import takes
from rebalancer.errors import ConfigError, LeaseHeld, Paused
from rebalancer.evm.abi import encode_call, from_hex, to_hex
from rebalancer.keeper.patient import Check, Patient
from rebalancer.ledger.consent import newest_approval, pause_reason
from rebalancer.ledger.orders import current_order
from rebalancer.model import Token, digest, format_units


def delegation(patient: Patient) -> str | Check:
    """What the wallet delegates to (EIP-7702), whatever the portfolio's mode."""
    wallet, mode = patient.resolved.portfolio.wallet, patient.resolved.portfolio.mode
    try:
        found = delegate_of(patient.rpc, wallet)
    except ConfigError:
        return "a contract delegates to nobody"
    if found is None:
        needs = "; `rebalancer delegate --execute` would" if mode == "eip7702" else ""
        return f"the wallet delegates to nobody{needs}"
    if found == WALLET_EXECUTOR.address:
        idle = "" if mode == "eip7702" else f"; mode: {mode} makes no use of it"
        return f"the wallet delegates to the wallet executor {found}{idle}"
    return Check(
        "delegation",
        f"the wallet delegates to {found}, which is not of this program: its code acts as the"
        " wallet for whoever it obeys",
        "if you do not know it, `rebalancer revoke --execute`",
        0,
        warning=True,
    )


def allowances(patient: Patient) -> str | Check:
    """What the executor may take from the wallet as things are."""
    portfolio = patient.resolved.portfolio
    tokens = [*patient.resolved.tokens]
    standing = {token.symbol: _allowance(patient, token) for token in tokens}
    shown = ", ".join(
        f"{_amount(standing[token.symbol], token)} {token.symbol}"
        for token in tokens
        if standing[token.symbol]
    )
    if portfolio.mode == "eip7702":
        detail = f"none needed{', though the executor may take ' + shown if shown else ''}"
        return _leftover(detail) if shown else detail
    if portfolio.approvals == "never":
        lacking = [symbol for symbol, allowed in standing.items() if not allowed]
        detail = f"the executor may take {shown or 'nothing'}"
        if lacking:
            hint = f"approve {', '.join(lacking)} for {EXECUTOR.address}, or set approvals: exact"
            return Check("allowances", detail, hint, 0, warning=True)
        return detail
    if shown:
        return _leftover(f"the executor may take {shown}: left over from a plan that did not trade")
    return f"none stands; plans make their own (approvals: {portfolio.approvals})"


def _leftover(detail: str) -> Check:
    hint = f"only the wallet itself can use it; to take it back, approve 0 for {EXECUTOR.address}"
    return Check("allowances", detail, hint, 0, warning=True)


def _allowance(patient: Patient, token: Token) -> int:
    wallet = patient.resolved.portfolio.wallet
    data = to_hex(encode_call("allowance(address,address)", wallet, EXECUTOR.address))
    answer = patient.rpc.call("eth_call", {"to": token.address, "data": data}, "latest")
    return int.from_bytes(from_hex(answer)[:32])


def _amount(raw: int, token: Token) -> str:
    return "any amount of" if raw >= 2**128 else format_units(raw, token.decimals)


def lane(patient: Patient) -> str:
    """Which way transactions take, and when they count as final."""
    return patient.lane()


def claim(patient: Patient) -> str:
    """Whether another portfolio trades for the wallet; raises ConfigError where it pulls."""
    patient.claim()
    return "no other portfolio wants other shares of the wallet's positions"


def nonce(patient: Patient) -> str | Check:
    """Whose nonce is used next, what is still out, and whether another process acts right now."""
    try:
        patient.lease()
    except LeaseHeld as error:
        return Check("nonce", str(error), error.hint, 0, warning=True)
    portfolio, chain_id = patient.resolved.portfolio, patient.resolved.network.chain_id
    book = patient.book()
    if book is not None:
        with book:
            bundles = book.open_bundles(chain_id, portfolio.wallet)
        if bundles:
            out = [tx for _, bundle in bundles for tx in bundle.transactions]
            nonces = ", ".join(str(number) for number in sorted({tx.nonce for tx in out}))
            return Check(
                "nonce",
                f"{len(bundles)} earlier plan(s) not at their end, nonces {nonces}",
                "the next run with --execute settles them first; `rebalancer audit reconcile` tells"
                " what the chain shows",
                0,
                warning=True,
            )
    sender = patient.keys().signer if portfolio.mode == "safe" else None
    wallet = sender.address if sender is not None else portfolio.wallet
    if portfolio.mode == "safe" and sender is None:
        return "nothing is out"
    return f"nothing is out; the next nonce of {wallet} is {checks.read_nonce(patient.rpc, wallet)}"


def approvals(patient: Patient) -> str | Check:
    """Whether large plans wait for a person, and what a person has said yes to."""
    portfolio = patient.resolved.portfolio
    if portfolio.approve_above is None:
        return "no plan waits for a person (approve_above is not set)"
    limit = f"plans above {format_units(portfolio.approve_above, 8, 2)} {portfolio.numeraire} wait"
    book = patient.book()
    if book is None:
        return f"{limit} for `rebalancer approve`; none was made yet"
    now_ts = int(patient.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    with book:
        found = newest_approval(book, portfolio.name, now_ts)
    if found is None:
        return f"{limit} for `rebalancer approve`; no approval holds"
    approval, plan = found
    return (
        f"{limit}; plan {digest(plan)[:12]} is approved for another"
        f" {approval.expires_ts - now_ts} s"
    )


def order(patient: Patient) -> str | Check:
    """The large plan that is traded in slices, where there is one."""
    book = patient.book()
    record = None
    if book is not None:
        with book:
            record = current_order(book, patient.resolved.portfolio.name)
    if record is None:
        return _order_to_come(patient)
    detail = f"order {record.order_id[:12]} is {record.state}, {len(record.slices)} slice(s) so far"
    hints = {
        "awaits approval": f"`rebalancer approve {record.order_id[:12]}` lets it go",
        "stopped": "`rebalancer order resume` goes on, `rebalancer order cancel` ends it",
    }
    hint = hints.get(record.state, "the keeper goes on; `rebalancer order stop` or `order cancel`")
    return Check("order", detail, hint, 0, warning=record.state != "open")


def _order_to_come(patient: Patient) -> str | Check:
    """No order is open; whether one would have the time for all its slices."""
    portfolio = patient.resolved.portfolio
    rules, blocks = portfolio.slice_rules(), portfolio.slice_takes_blocks
    if rules is None:
        return "no order is open"
    unit = "s" if rules.clock == "seconds" else "blocks"
    needed = max(rules.every, takes(rules.clock, blocks)) * (rules.slices - 1)
    if rules.lasts >= needed:
        return f"no order is open; one would have {rules.lasts:,} {unit} for {rules.slices} slices"
    return Check(
        "order",
        f"no order is open; one would end after {rules.lasts:,} {unit}, and {rules.slices} slices"
        f" take {needed:,} at least, {blocks} blocks each until they are final: the last ones would"
        " not be traded",
        f"leave expires away in execution, or give it more than {needed:,} {unit}",
        0,
        warning=True,
    )


def pause(patient: Patient) -> str:
    """Whether a person has stopped this portfolio, or everything; raises Paused then."""
    patient.kill_guard()
    book = patient.book()
    if book is None:
        return "nothing is paused"
    with book:
        name = patient.resolved.portfolio.name
        reason = pause_reason(book, name)
    if reason is not None:
        raise Paused(f"{name} is paused: {reason}", hint="`rebalancer resume` trades again")
    return "nothing is paused"
