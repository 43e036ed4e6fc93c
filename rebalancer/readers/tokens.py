"""Which tokens a portfolio needs, and how much of them its wallets have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rebalancer.config.portfolio import LpSpec, ResolvedPortfolio
from rebalancer.errors import ConfigError, ReadError
from rebalancer.model import UNREADABLE, Amount, HeldOut, Token
from rebalancer.readers.call import Call, Result
from rebalancer.readers.multicall import no_multicall3

#: What every call came back with; equal calls are asked once.
Answers = Mapping[Call, Result]


def needed_tokens(resolved: ResolvedPortfolio, more: Iterable[Token] = ()) -> tuple[Token, ...]:
    """Tokens of the portfolio, of its LP pairs, the intermediates and ``more``, by address.

    Raises ConfigError when two symbols stand for one contract: it would be counted twice.
    """
    by_address: dict[str, Token] = {}
    for token in (*_mentioned(resolved), *more):
        known = by_address.setdefault(token.address, token)
        if known != token:
            raise ConfigError(
                f"{known.symbol} and {token.symbol} of {resolved.network.name} are one contract, "
                f"{token.address}",
                hint="keep one of the two in networks.yaml",
            )
    return tuple(sorted(by_address.values(), key=lambda token: int(token.address, 16)))


def token_calls(tokens: Sequence[Token], wallets: Sequence[str]) -> Iterable[Call]:
    """Balance of every wallet and decimals of every token."""
    for token in tokens:
        for wallet in wallets:
            yield balance_of(token.address, wallet)
        yield decimals(token.address)


def read_balances(
    answers: Answers, tokens: Sequence[Token], wallets: Sequence[str]
) -> tuple[tuple[tuple[Amount, ...], ...], tuple[HeldOut, ...]]:
    """Balances of every wallet, each in the order of ``tokens``, and the tokens that misbehave.

    Unreadable is a token of which a balance or the decimals cannot be read, and one whose decimals
    are not those of networks.yaml: they would put the NAV wrong by powers of ten.
    """
    columns: list[list[Amount]] = []
    unreadable: list[HeldOut] = []
    for token in tokens:
        column = _column(answers, token, wallets)
        if isinstance(column, str):
            text = f"token {token.symbol} at {token.address} {column}"
            unreadable.append(HeldOut(token.symbol, token.address, UNREADABLE, text))
        else:
            columns.append(column)
    rows = tuple(zip(*columns, strict=True)) if columns else tuple(() for _ in wallets)
    return rows, tuple(unreadable)


def unreadable_lps(lps: Sequence[LpSpec], unreadable: Sequence[HeldOut]) -> tuple[HeldOut, ...]:
    """The LP positions that cannot be valued because one of their tokens is ``unreadable``."""
    lost = {item.address for item in unreadable}
    return tuple(
        HeldOut(lp.name, lp.pair, UNREADABLE, f"{lp.name} holds {token.symbol}, which is not read")
        for lp in lps
        for token in [next((t for t in (lp.token0, lp.token1) if t.address in lost), None)]
        if token is not None
    )


def balance_of(token: str, owner: str) -> Call:
    return Call(token, "balanceOf(address)", (owner,))


def decimals(contract: str) -> Call:
    return Call(contract, "decimals()", (), ("uint8",))


def native_balance(multicall3: str, owner: str) -> Call:
    """The balance of the chain's own currency, which Multicall3 tells."""
    return Call(multicall3, "getEthBalance(address)", (owner,))


def read_native(answers: Answers, multicall3: str, owner: str, symbol: str, block: int) -> int:
    """The balance of the chain's own currency; raises ReadError saying why there is none."""
    call = native_balance(multicall3, owner)
    result = answers[call]
    if result.success and not result.data:
        raise no_multicall3(multicall3, block)
    return read_uint(answers, call, f"the {symbol} balance of {owner}", block)


def read_uint(answers: Answers, call: Call, what: str, block: int, hint: str = "") -> int:
    """The integer that ``call`` returned; raises ReadError saying why ``what`` has none."""
    values = answers[call].values()
    if values is None:
        raise ReadError(f"{what}: {answers[call].failure}", hint=hint, block=block)
    return int(values[0])


def _mentioned(resolved: ResolvedPortfolio) -> Iterable[Token]:
    yield from resolved.tokens
    for lp in resolved.lps:
        yield lp.token0
        yield lp.token1
    for symbol in resolved.network.intermediates:
        yield resolved.network.token(symbol)


def _column(answers: Answers, token: Token, wallets: Sequence[str]) -> list[Amount] | str:
    """What every wallet has of a token, or why that cannot be believed."""
    column = []
    for wallet in wallets:
        result = answers[balance_of(token.address, wallet)]
        values = result.values()
        if values is None:
            return f"cannot be read: {result.failure}"
        column.append(Amount(token, int(values[0])))
    result = answers[decimals(token.address)]
    told = result.values()
    if told is None:
        return f"cannot be read: {result.failure}"
    if told[0] != token.decimals:
        return f"has {told[0]} decimals, networks.yaml says {token.decimals}"
    return column
