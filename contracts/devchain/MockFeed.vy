# pragma version ==0.4.3
"""
@title Chainlink price feed of the development chain
@license MIT
@notice Answers as an AggregatorV3 proxy does, with what anybody has set last.
@custom:security For development chains only: `set_answer` is open to everyone on purpose.
"""

event AnswerUpdated:
    current: indexed(int256)
    roundId: indexed(uint256)
    updatedAt: uint256


decimals: public(immutable(uint8))
description: public(immutable(String[32]))

# The three slots 0, 1, 2: installing the feed over another contract clears them.
_round_id: uint80
_answer: int256
_updated_at: uint256


@deploy
def __init__(decimals_: uint8, description_: String[32]):
    """
    @param decimals_ Decimals of the answer, 8 for feeds in USD.
    @param description_ The feed's name, for example "ETH / USD".
    """
    decimals = decimals_
    description = description_


@external
def set_answer(answer: int256):
    """
    @notice Start a new round that was updated at this block's time.
    @param answer The price in 10**-decimals; zero or less where a broken feed is wanted.
    """
    self._set(answer, block.timestamp)


@external
def set_answer_at(answer: int256, updated_at: uint256):
    """
    @notice Start a new round that was updated at another time, for example a stale one.
    @param answer The price in 10**-decimals.
    @param updated_at Unix time of the update.
    """
    self._set(answer, updated_at)


@view
@external
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The last round, as AggregatorV3Interface has it.
    @return roundId, answer, startedAt, updatedAt, answeredInRound.
    """
    return (
        self._round_id,
        self._answer,
        self._updated_at,
        self._updated_at,
        self._round_id,
    )


@internal
def _set(answer: int256, updated_at: uint256):
    self._round_id += 1
    self._answer = answer
    self._updated_at = updated_at
    log AnswerUpdated(
        current=answer, roundId=convert(self._round_id, uint256), updatedAt=updated_at
    )
