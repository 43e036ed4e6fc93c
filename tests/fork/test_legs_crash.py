"""A plan of every kind of leg, killed on the way: done once, recorded, reconciled to the wei."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from bundler_kit import GWEI, pace, signer_of
from legs_kit import Draft, decided, give_shares, share_of

from rebalancer.bundler.delegating import delegate
from rebalancer.bundler.deploy import deploy
from rebalancer.bundler.executor import WALLET_EXECUTOR
from rebalancer.bundler.journal import Journal
from rebalancer.bundler.modes import Mode
from rebalancer.bundler.prepare import prepare
from rebalancer.bundler.recover import recover
from rebalancer.bundler.submit import submit
from rebalancer.config.networks import Network
from rebalancer.devchain.accounts import TREASURY
from rebalancer.devchain.fork import DevChain
from rebalancer.devchain.mainnet import USDC, USDT, WETH
from rebalancer.evm.rpc import Rpc
from rebalancer.ledger.queries import rebalances
from rebalancer.ledger.reconcile import reconcile
from rebalancer.ledger.store import Ledger

UNIT = 10**18
SHARES = 10**14


class Killed(BaseException):
    """Nothing that the bundler could catch."""


class Mortal:
    """Dies in front of, or behind, the n-th call of one name, of a journal or a node."""

    def __init__(self, inner: Any, name: str, when: str, count: int = 1) -> None:
        self._inner = inner
        self._name, self._when, self._left = name, when, count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._doomed(found) if name == self._name else found

    def call(self, method: str, *params: Any) -> Any:
        plain = self._inner.call
        return (self._doomed(plain) if method == self._name else plain)(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return list(self._inner.batch(calls))

    def _doomed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._when == "before":
                raise Killed
            answer = function(*args, **kwargs)
            if self._left == 0:
                raise Killed
            return answer

        return run


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db", lambda: 1_750_000_000) as opened:
        yield opened


@pytest.fixture
def rpc(devchain: DevChain) -> Rpc:
    deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace())
    deploy(devchain.rpc, signer_of(), 1, 300 * GWEI, pace(), WALLET_EXECUTOR)
    return devchain.rpc


SEND = "eth_sendRawTransaction"


@pytest.mark.parametrize(
    ("mode", "name", "when", "count"),
    [
        ("eip7702", "store_bundle", "after", 1),
        ("eip7702", SEND, "after", 1),
        ("eip7702", "record_outcome", "before", 1),
        ("eip7702", "record_confirmed", "before", 1),
        ("allowance", SEND, "before", 2),
        ("allowance", SEND, "after", 5),
        ("allowance", "record_outcome", "after", 4),
    ],
)
def test_killed__is_done_once_and_reconciles(
    rpc: Rpc, mainnet: Network, ledger: Ledger, mode: Mode, name: str, when: str, count: int
) -> None:
    if mode == "eip7702":
        delegate(rpc, signer_of(), 1, 300 * GWEI, pace())
    give_shares(rpc, share_of(mainnet, USDC, WETH), SHARES)
    draft = Draft(rpc, mainnet)
    draft.wrap(UNIT)
    out = draft.remove(USDC, WETH, SHARES)
    bought = draft.swap(USDC, USDT, out.amount0)
    draft.add(USDT, WETH, bought.amount_out)
    draft.unwrap(UNIT // 2)
    plan = decided(rpc, ledger, draft)
    bundle = prepare(rpc, plan, signer_of(), mode=mode).bundle
    assert len(bundle.transactions) == (1 if mode == "eip7702" else 5)

    with pytest.raises(Killed):
        submit(
            Mortal(rpc, name, when, count),
            cast(Journal, Mortal(ledger, name, when, count)),
            plan,
            bundle,
            pace(),
        )
    (settled,) = recover(rpc, ledger, 1, TREASURY, pace())

    assert settled.outcomes[-1].purpose == "execute"
    (record,) = rebalances(ledger)
    assert record.state == "executed"
    assert [leg.fill.pays for leg in record.legs if leg.fill] == [leg.pays for leg in plan.legs]
    assert reconcile(ledger, rpc).ok
    assert recover(rpc, ledger, 1, TREASURY, pace()) == ()
