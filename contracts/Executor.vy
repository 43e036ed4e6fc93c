# pragma version 0.4.3
"""
@title A batch of steps for its caller, paid by his allowances
@custom:contract-name Executor
@license MIT
@author rebalancer
@notice What a batch is, and what it does, is written in the module
        `batch`. Definitions and the trust model are in
        `docs/executor.md`.
@custom:security The contract has no owner and no storage. It holds
                 nothing, and it moves tokens of `msg.sender` only: an
                 allowance given to it can be used by nobody but its
                 giver. Do not delegate an account to it (EIP-7702):
                 that is what `WalletExecutor` is for.
"""


# @dev We import the module that does the work, and take its functions
# as ours.
from modules import batch
initializes: batch
exports: (batch.execute, batch.route)


@deploy
@payable
def __init__():
    """
    @dev `msg.sender` pays by allowance.
    """
    batch.__init__(False)


@external
@payable
def __default__():
    """
    @dev Takes ether from the wrapped ether that is being unwrapped, and
         refuses everything else, so that none is lost by mistake.
    """
    assert len(msg.data) == 0
    batch._check_ether()
