"""Which tokens a portfolio needs, and how much of them its wallet has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rebalancer.config.portfolio import ResolvedPortfolio
from rebalancer.errors import ConfigError, ReadError
from rebalancer.model import Amount, Token
from rebalancer.readers.multicall import Call, Result

#: What every call came back with; equal calls are asked once.
Answers = Mapping[Call, Result]


def needed_tokens(resolved: ResolvedPortfolio) -> tuple[Token, ...]:
    """Tokens of the portfolio, of its LP pairs and the intermediates, by address.

    Raises ConfigError when two symbols stand for one contract: it would be counted twice.
    """
    by_address: dict[str, Token] = {}
    for token in _mentioned(resolved):
        known = by_address.setdefault(token.address, token)
        if known != token:
            raise ConfigError(
                f"{known.symbol} and {token.symbol} of {resolved.network.name} are one contract, "
                f"{token.address}",
                hint="keep one of the two in networks.yaml",
            )
    return tuple(sorted(by_address.values(), key=lambda token: int(token.address, 16)))


def token_calls(tokens: Sequence[Token], wallet: str) -> Iterable[Call]:
    """Balance of ``wallet`` and decimals of every token."""
    for token in tokens:
        yield balance_of(token.address, wallet)
        yield decimals(token.address)


def read_balances(
    answers: Answers, tokens: Sequence[Token], wallet: str, block: int
) -> tuple[Amount, ...]:
    """Balances in the order of ``tokens``.

    Raises ReadError, naming the token, for a balance that cannot be read, and for decimals that
    are not those of networks.yaml: they would put the NAV wrong by powers of ten.
    """
    return tuple(Amount(token, _balance(answers, token, wallet, block)) for token in tokens)


def balance_of(token: str, owner: str) -> Call:
    return Call(token, "balanceOf(address)", (owner,))


def decimals(contract: str) -> Call:
    return Call(contract, "decimals()", (), ("uint8",))


def native_balance(multicall3: str, owner: str) -> Call:
    """The balance of the chain's own currency, which Multicall3 tells."""
    return Call(multicall3, "getEthBalance(address)", (owner,))


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


def _balance(answers: Answers, token: Token, wallet: str, block: int) -> int:
    what = f"token {token.symbol} at {token.address}"
    hint = f"check the address of {token.symbol} in networks.yaml, and that it exists at this block"
    raw = read_uint(answers, balance_of(token.address, wallet), what, block, hint)
    told = read_uint(answers, decimals(token.address), what, block, hint)
    if told != token.decimals:
        raise ReadError(
            f"{what} has {told} decimals, networks.yaml says {token.decimals}",
            hint=f"set the decimals of {token.symbol} to {told} if the address is the right one",
            block=block,
        )
    return raw
