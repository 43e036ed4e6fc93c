"""The public accounts of development chains."""

from __future__ import annotations

import pytest
from eth_account import Account

from rebalancer.devchain.accounts import (
    ARBITRAGEUR,
    DEV_ACCOUNTS,
    MARKET_MAKER,
    TREASURY,
    dev_key,
)


@pytest.mark.parametrize("address", DEV_ACCOUNTS)
def test_dev_key__known_account__is_the_key_of_that_address(address: str) -> None:
    key = dev_key(address)
    assert key is not None
    assert Account.from_key(key).address == address
    assert dev_key(address.lower()) == key


def test_dev_key__anybody_elses_account__is_none() -> None:
    assert dev_key("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2") is None


def test_roles__three_accounts__differ() -> None:
    assert len({TREASURY, ARBITRAGEUR, MARKET_MAKER}) == 3
