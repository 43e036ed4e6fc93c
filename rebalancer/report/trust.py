"""Why the numbers can be trusted, and where they cannot: the sources of prices, and the alarms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from rebalancer.model import UNREADABLE, Price, Quote, Snapshot, Valuation
from rebalancer.report import lp
from rebalancer.report.layout import new_table
from rebalancer.report.numbers import age, unit_price

_LEFT = frozenset({"token", "source", "agree"})


def alarms(
    snapshot: Snapshot, valuation: Valuation, changed: Sequence[str] = ()
) -> tuple[str, ...]:
    """What a person should look at before he believes the view; empty when all is well.

    Positions that cannot be read, tokens that must not be traded, tokens whose code was
    ``changed``, sources that contradict a price or are silent, pools far off the oracle.
    """
    return (
        *_held_out(snapshot, valuation),
        *changed,
        *(text for price in snapshot.prices for text in _dissent(price)),
        *lp.alarms(snapshot, valuation),
    )


def prices_view(snapshot: Snapshot) -> Table:
    """A row for each price; where several sources were asked, one below it for each of them."""
    several = any(len(price.quotes) > 1 for price in snapshot.prices)
    names = ["token", f"price in {snapshot.numeraire}", "source", "age", "block"]
    names += ["agree"] if several else []
    table = new_table("Prices", *names, left=_LEFT)
    for price in snapshot.prices:
        agreeing = sum(quote.agrees for quote in price.quotes)
        agree = f"{agreeing} of {len(price.quotes)}" if len(price.quotes) > 1 else ""
        table.add_row(
            price.token.symbol,
            unit_price(price.value_down(10**price.token.decimals)),
            price.source,
            age(snapshot.block.timestamp - price.updated_at),
            f"{_oldest_block(snapshot, price)}",
            *([agree] if several else []),
        )
        if len(price.quotes) > 1:
            for quote in price.quotes:
                table.add_row(*_quote_row(snapshot, price, quote))
    return table


def _held_out(snapshot: Snapshot, valuation: Valuation) -> Iterator[str]:
    for item in snapshot.held_out:
        if item.code != UNREADABLE:
            yield f"{item.name} is held out of every trade: {item.text}"
        elif item.name in valuation.unread:
            yield f"the NAV is without {item.name}, and nothing is traded: {item.text}"
        else:
            yield f"{item.name} is not used: {item.text}"


def _dissent(price: Price) -> Iterator[str]:
    """Sources that do not support the price."""
    symbol = price.token.symbol
    for quote in price.quotes:
        if quote.fault:
            yield f"a source of {symbol}'s price is silent: {quote.source}: {quote.fault}"
        elif not quote.agrees:
            yield (
                f"a source of {symbol}'s price is contradicted by the others: {quote.source} says "
                f"{_unit_price(price, quote)}, "
                f"{unit_price(price.value_down(10**price.token.decimals))} stands"
            )


def _quote_row(snapshot: Snapshot, price: Price, quote: Quote) -> tuple[str | Text, ...]:
    if quote.fault:
        return "", Text("silent", style="yellow"), f"  {quote.source}", "", "", ""
    return (
        "",
        _unit_price(price, quote),
        f"  {quote.source}",
        age(snapshot.block.timestamp - quote.updated_at),
        f"{quote.block_number}",
        "yes" if quote.agrees else Text("no", style="bold red"),
    )


def _unit_price(price: Price, quote: Quote) -> str:
    return unit_price(quote.numerator * 10**price.token.decimals // quote.denominator)


def _oldest_block(snapshot: Snapshot, price: Price) -> int:
    """The oldest block that the price taken depends on."""
    taken = (quote.block_number for quote in price.quotes if price.source.startswith(quote.source))
    return next(taken, snapshot.block.number)
