"""The doctor: everything a rebalance depends on, looked at one by one, nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rebalancer.bundler.delegation import delegate_of
from rebalancer.bundler.executor import check_deployed
from rebalancer.bundler.modes import MODES, Mode, check_mode, contract_of
from rebalancer.bundler.safe import read_safe
from rebalancer.errors import (
    ConfigError,
    ExecutorMissing,
    InsufficientGas,
    ReadError,
    RebalancerError,
)
from rebalancer.evm.roster import EndpointStatus
from rebalancer.evm.rpc import RpcError
from rebalancer.keeper import standing
from rebalancer.keeper.gas import gas_figures
from rebalancer.keeper.patient import Check, Patient
from rebalancer.keeper.signing import Keys
from rebalancer.model import UNREADABLE, format_units
from rebalancer.readers.inspect import inspect
from rebalancer.readers.metadata import read_metadata
from rebalancer.readers.snapshot import read_snapshot

#: Gas of a typical batch of three swaps with its approvals, and the margin of a gas limit.
_TYPICAL_GAS = 500_000


def examine(patient: Patient) -> Iterator[Check]:
    """Look at every endpoint and run every check; a failed one does not stop the others."""
    yield from map(_endpoint, patient.rpc.statuses())
    for name, check in _CHECKS:
        try:
            found = check(patient)
            yield found if isinstance(found, Check) else Check(name, found, "", 0)
        except RebalancerError as error:
            yield Check(name, str(error), error.hint, error.exit_code)


def _endpoint(status: EndpointStatus) -> Check:
    """One of the endpoints: as long as another one serves, its trouble is none of the rebalance."""
    head = "no block seen" if status.head is None else f"block {status.head:,}"
    latency = "" if status.latency_ms is None else f" ({status.latency_ms:,} ms)"
    detail = f"{status.name}: {head}, {status.speed}{latency}"
    if not status.trouble:
        return Check("endpoint", detail, "", 0)
    hint = "the other endpoints stand in for it; correct or remove its URL if this stays"
    return Check("endpoint", f"{detail}; not used: it {status.trouble}", hint, 0, warning=True)


def _node(patient: Patient) -> str:
    client, number = patient.rpc.batch([("web3_clientVersion", ()), ("eth_blockNumber", ())])
    network = patient.resolved.network
    return f"{client}, {network.name} (chain id {network.chain_id}), block {int(number, 16):,}"


def _portfolio(patient: Patient) -> str:
    """A whole snapshot: tokens, decimals, feeds and their ages, pairs, reads by block hash."""
    snapshot = read_snapshot(patient.rpc, patient.resolved)
    tokens = ", ".join(amount.token.symbol for amount in snapshot.balances)
    return (
        f"read at one block hash: {tokens}; {len(snapshot.prices)} fresh prices, "
        f"{len(snapshot.pairs)} pools"
    )


def _planner(patient: Patient) -> str:
    """Which planner plans, and what it will not do of what the targets ask for."""
    resolved = patient.resolved
    if resolved.policy.planner == "optimal":
        return "optimal: tokens and liquidity are traded, with a certificate"
    alone = [t.position for t in resolved.targets if ":" in t.position and t.weight_ppm]
    if not alone:
        return "greedy"
    return (
        f"greedy, which leaves {', '.join(alone)} alone; `planner: optimal` in the policy adds and "
        "removes liquidity"
    )


def _tokens(patient: Patient) -> Check:
    """What the tokens call themselves, whose code can be exchanged, and which are not traded."""
    snapshot = inspect(patient.rpc, read_snapshot(patient.rpc, patient.resolved))
    positions = {target.position for target in patient.resolved.targets}
    for item in snapshot.held_out:
        if item.code == UNREADABLE and item.name in positions:
            raise ReadError(
                item.text,
                hint=f"nothing is traded while {item.name} cannot be valued: check its address and "
                "decimals in networks.yaml, or take it out of the portfolio",
            )
    tokens = [amount.token for amount in snapshot.balances]
    multicall3 = patient.resolved.network.multicall3
    addresses = [token.address for token in tokens]
    told = read_metadata(patient.rpc, multicall3, addresses, snapshot.block.hash)
    code = {proxy.token: proxy.implementation for proxy in snapshot.proxies}
    names = [
        f"{token.symbol} (code at {code[token]}, exchangeable)" if token in code else token.symbol
        for token in tokens
    ]
    odd = [item.text for item in snapshot.held_out]
    odd += [
        f"the contract of {token.symbol} calls itself {metadata.symbol}"
        for token, metadata in zip(tokens, told, strict=True)
        if metadata.symbol not in (None, token.symbol)
    ]
    hint = "what is named here is valued and not traded, or has another name on the chain"
    detail = "; ".join([", ".join(names), *odd])
    return Check("tokens", detail, hint if odd else "", 0, warning=bool(odd))


def _simulation(patient: Patient) -> str:
    try:
        patient.rpc.call("eth_simulateV1", {"blockStateCalls": [{"calls": []}]}, "latest")
    except RpcError as error:
        raise ReadError(
            f"the node cannot simulate a sequence of transactions: {error}",
            hint="plans that need an approval are refused on it; use a node with eth_simulateV1",
        ) from None
    return "eth_simulateV1 answers"


def _executor(patient: Patient) -> str:
    of = contract_of(patient.resolved.portfolio.mode)
    check_deployed(patient.rpc, "latest", of)
    return f"{of.address} holds the code that this version ships"


def _mode(patient: Patient) -> str:
    """The portfolio's way to hold the money works; and which others would."""
    portfolio = patient.resolved.portfolio
    others = [mode for mode in MODES if mode != portfolio.mode and _works(patient, mode)]
    would = " and ".join(f"mode: {mode}" for mode in others)
    try:
        _check_mode(patient, portfolio.mode)
    except (ExecutorMissing, ConfigError) as error:
        if would:
            error.hint += f"; {would} would work as things are"
        raise
    also = f"{would} would too" if would else "no other mode would as things are"
    return f"{portfolio.mode} works for {portfolio.wallet}; {also}"


def _check_mode(patient: Patient, mode: Mode) -> None:
    """Raise unless the mode works for the wallet: a contract has no key to sign with."""
    wallet = patient.resolved.portfolio.wallet
    check_mode(patient.rpc, mode, wallet)
    if mode != "safe":
        delegate_of(patient.rpc, wallet)


def _works(patient: Patient, mode: Mode) -> bool:
    try:
        _check_mode(patient, mode)
    except (ExecutorMissing, ConfigError):
        return False
    return True


def _key(patient: Patient) -> str | Check:
    keys, wallet = patient.keys(), patient.resolved.portfolio.wallet
    if patient.resolved.portfolio.mode == "safe":
        return _safe_keys(patient, keys)
    if keys.signer is None or keys.signer.address != wallet:
        found = keys.signer.address if keys.signer is not None else "nobody"
        raise ConfigError(
            f"the key is of {found}, the portfolio's wallet is {wallet}",
            hint="configure the wallet's own key, or put the key's wallet into the portfolio file",
        )
    return f"signs for {wallet}"


def _safe_keys(patient: Patient, keys: Keys) -> str | Check:
    """With the keys of enough owners a Safe's rebalance is executed, with fewer proposed."""
    safe = read_safe(patient.rpc, patient.resolved.portfolio.wallet)
    detail = (
        f"the Safe asks for {safe.threshold} of {len(safe.owners)} owners (its nonce is"
        f" {safe.nonce}), keys of {len(keys.owners)} are at hand"
    )
    if keys.signer is not None and len(keys.owners) >= safe.threshold:
        return f"{detail}; {keys.signer.address} sends"
    hint = "add keys of owners (REBALANCER_OWNER_KEYSTORES), or let them sign what is proposed"
    return Check("key", f"{detail}: rebalances are proposed, not executed", hint, 0, warning=True)


def _gas_purse(patient: Patient) -> str | Check:
    rpc, wallet = patient.rpc, patient.resolved.portfolio.wallet
    if patient.resolved.portfolio.mode == "safe":
        sender = patient.keys().signer
        if sender is None:
            return "whoever executes a proposal pays its gas"
        wallet = sender.address
    balance, price = (
        int(answer, 16)
        for answer in rpc.batch([("eth_getBalance", (wallet, "latest")), ("eth_gasPrice", ())])
    )
    symbol = patient.resolved.network.native.symbol
    held, needed = format_units(balance, 18, 6), format_units(_TYPICAL_GAS * price, 18, 6)
    if balance < _TYPICAL_GAS * price:
        raise InsufficientGas(
            f"the wallet has {held} {symbol}, a rebalance needs about {needed}",
            hint=f"send {symbol} to {wallet}",
        )
    enough = f"{held} {symbol}, a rebalance needs about {needed}"
    reserve = patient.resolved.gas_reserve
    if reserve is None:
        return enough
    kept = f"{format_units(reserve.wei, 18)} {symbol}"
    if reserve.wei < _TYPICAL_GAS * price:
        detail = f"{enough}, and gas_reserve keeps {kept}: what is above may be traded away"
        return Check("gas purse", detail, "raise gas_reserve in the portfolio", 0, warning=True)
    return f"{enough}; above gas_reserve, {kept}, it counts as {reserve.wrapped.symbol}"


def _ledger(patient: Patient) -> str:
    return patient.ledger()


_CHECKS: tuple[tuple[str, Callable[[Patient], str | Check]], ...] = (
    ("node", _node),
    ("portfolio", _portfolio),
    ("tokens", _tokens),
    ("planner", _planner),
    ("simulation", _simulation),
    ("executor", _executor),
    ("mode", _mode),
    ("delegation", standing.delegation),
    ("allowances", standing.allowances),
    ("key", _key),
    ("gas purse", _gas_purse),
    ("gas figures", gas_figures),
    ("lane", standing.lane),
    ("ledger", _ledger),
    ("claim", standing.claim),
    ("nonce", standing.nonce),
    ("approvals", standing.approvals),
    ("order", standing.order),
    ("pause", standing.pause),
)
