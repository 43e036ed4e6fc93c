# pragma version 0.4.3
"""
@title A batch of swaps for its caller: all of them, or none
@custom:contract-name Executor
@license MIT
@author rebalancer
@notice Swaps on constant-product (Uniswap-V2-style) pairs of any fee.
        The legs of a call are done in order in one transaction, each
        at the best amount that its pair pays at that moment; if a leg
        cannot pay its minimum, nothing happens at all. Definitions and
        the trust model are in `docs/executor.md`.
@custom:security The contract has no owner, no storage, no constructor,
                 no fallback, and takes no ether. It never holds tokens,
                 and it moves those of `msg.sender` only: an allowance
                 given to it can be used by nobody but its giver. As
                 there is no state, there is nothing that a reentrant
                 call could find half done, hence no lock. Pairs and
                 tokens are the caller's choice and are not vetted: a
                 caller who names a hostile one risks the `amount_in`
                 of his own legs, and nobody else's. A token that takes
                 a fee on transfers makes the pair that it is paid into
                 revert. One that takes it when a pair pays `msg.sender`
                 cannot be seen from here: amounts out and minimums are
                 what the pairs pay.
"""


# @dev We import the `IERC20` interface, which is a built-in interface
# of the Vyper compiler.
from ethereum.ercs import IERC20


# @dev We import the part of the pairs' interface that is used here.
from interfaces import IUniswapV2Pair


# @dev The largest number of legs in one call.
MAX_LEGS: constant(uint256) = 32


# @dev A fee of 100 percent; fees are in parts per million of the
# amount in.
PPM: constant(uint256) = 1_000_000


# @dev The largest reserve that a pair can book.
MAX_RESERVE: constant(uint256) = 2 ** 112 - 1


# @dev One swap: `pair` takes `amount_in` of `token_in`, which is its
# `token0` if `zero_for_one`, and pays its other token. An `amount_in`
# of zero marks a chained leg, which spends exactly what the leg before
# it pays; its `token_in` is not read.
struct Leg:
    pair: address
    token_in: address
    zero_for_one: bool
    fee_ppm: uint256
    amount_in: uint256
    min_amount_out: uint256


@external
def execute(legs: DynArray[Leg, MAX_LEGS], deadline: uint256) -> DynArray[uint256, MAX_LEGS]:
    """
    @dev Swaps leg by leg, or reverts as a whole.
    @notice A leg pays to `msg.sender`, or, if the next leg is chained,
            straight into that leg's pair. The caller must have approved
            this contract for what the unchained legs spend.
    @param legs The swaps; the first one cannot be chained.
    @param deadline The last `block.timestamp` to do it at.
    @return DynArray The amount out of each leg, as paid by its pair.
    @custom:security Tokens are pulled before the quote is made, and
                     the pair is asked for no more than the quote, so
                     that a token which calls back while it is pulled
                     can only make the leg revert, or pay at least its
                     minimum. `transferFrom` always names `msg.sender`
                     as the owner of the tokens; `swap` never carries
                     callback data.
    """
    assert block.timestamp <= deadline, "executor: deadline has passed"
    count: uint256 = len(legs)
    assert count != empty(uint256), "executor: no legs"

    amounts_out: DynArray[uint256, MAX_LEGS] = []
    amount_out: uint256 = empty(uint256)
    for i: uint256 in range(count, bound=MAX_LEGS):
        leg: Leg = legs[i]
        amount_in: uint256 = leg.amount_in
        if amount_in != empty(uint256):
            # No return data counts as success (USDT); no code does not.
            assert extcall IERC20(leg.token_in).transferFrom(
                msg.sender, leg.pair, amount_in, default_return_value=True
            ), "executor: transfer failed"
        else:
            # The leg before has paid `amount_out` into this pair.
            assert i != empty(uint256), "executor: first leg has no amount in"
            amount_in = amount_out

        amount_out = self._quote(leg, amount_in)
        assert amount_out >= leg.min_amount_out, "executor: amount out below minimum"

        to: address = msg.sender
        if i + 1 < count and legs[i + 1].amount_in == empty(uint256):
            to = legs[i + 1].pair

        # `_quote` got an answer from the pair, so it is a contract.
        if leg.zero_for_one:
            extcall IUniswapV2Pair(leg.pair).swap(
                empty(uint256), amount_out, to, b"", skip_contract_check=True
            )
        else:
            extcall IUniswapV2Pair(leg.pair).swap(
                amount_out, empty(uint256), to, b"", skip_contract_check=True
            )
        amounts_out.append(amount_out)

    return amounts_out


@internal
@view
def _quote(leg: Leg, amount_in: uint256) -> uint256:
    """
    @dev The most that the pair of a leg pays for `amount_in` now.
    @notice With the fee `f`, the amount in `x` and the reserves `R`,
            `out = x (1 - f) R_out / (R_in + x (1 - f))`, rounded down.
            The unchecked arithmetic is safe: amount and reserves are
            below 2 ** 112, so nothing reaches 2 ** 244, and the divisor
            is positive because amount and `1 - f` are.
    @param leg The swap.
    @param amount_in The amount paid into the pair, which is positive.
    @return uint256 The amount out, which is positive.
    """
    assert leg.fee_ppm < PPM, "executor: fee is not below 100 percent"
    assert amount_in <= MAX_RESERVE, "executor: amount in too large"

    reserve_in: uint112 = empty(uint112)
    reserve_out: uint112 = empty(uint112)
    booked_at: uint32 = empty(uint32)
    if leg.zero_for_one:
        reserve_in, reserve_out, booked_at = staticcall IUniswapV2Pair(leg.pair).getReserves()
    else:
        reserve_out, reserve_in, booked_at = staticcall IUniswapV2Pair(leg.pair).getReserves()

    after_fee: uint256 = unsafe_mul(amount_in, unsafe_sub(PPM, leg.fee_ppm))
    amount_out: uint256 = unsafe_div(
        unsafe_mul(after_fee, convert(reserve_out, uint256)),
        unsafe_add(unsafe_mul(convert(reserve_in, uint256), PPM), after_fee),
    )
    assert amount_out != empty(uint256), "executor: zero amount out"
    return amount_out
