"""The wallets of a development chain and what is in them."""

from __future__ import annotations

from dataclasses import dataclass

from rebalancer.devchain import mainnet as m
from rebalancer.devchain.accounts import ARBITRAGEUR, TREASURY
from rebalancer.devchain.cheats import write_all
from rebalancer.evm.abi import encode_call, to_hex
from rebalancer.evm.rpc import Rpc
from rebalancer.model import Amount

_PURPOSES = {
    TREASURY: "treasury: the portfolio that is kept",
    ARBITRAGEUR: "arbitrageur: moves the pools to the oracle",
}


@dataclass(frozen=True, slots=True)
class Wallet:
    """An account whose key everybody knows; ``balances`` are tokens and LP shares, none zero."""

    address: str
    purpose: str
    native_wei: int
    balances: tuple[Amount, ...]


def read_wallets(rpc: Rpc) -> tuple[Wallet, ...]:
    """The wallets at the head."""
    return tuple(_read(rpc, address, purpose) for address, purpose in _PURPOSES.items())


def _read(rpc: Rpc, address: str, purpose: str) -> Wallet:
    tokens = (*m.TOKENS, *m.LP_TOKENS)
    data = to_hex(encode_call("balanceOf(address)", address))
    native, *answers = write_all(
        rpc,
        [
            ("eth_getBalance", (address, "latest")),
            *(("eth_call", ({"to": t.address, "data": data}, "latest")) for t in tokens),
        ],
    )
    # Where there is no contract the answer is empty.
    raws = [int(answer, 16) if len(answer) > 2 else 0 for answer in answers]
    balances = (Amount(token, raw) for token, raw in zip(tokens, raws, strict=True) if raw)
    return Wallet(address, purpose, int(native, 16), tuple(balances))
