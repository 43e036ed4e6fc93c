"""The chain at one block: balances, pools, prices and gas of a portfolio, or one clear ReadError.

``snapshot.read_snapshot`` is the room's door. It has ``task`` collect the calls of ``tokens``,
``pairs`` and ``prices``, asks them all through ``fence`` (by ``reader``'s program, or by
``multicall``) at the hash of the block that ``chain`` found, hands the answers back to the same
three, adds the LP entries of ``entries``, and looks again whether the block still stands.
``prices`` puts together what ``sources``, ``past`` and ``twap`` read, and ``quorum`` judges it.
``inspect`` adds what the tokens would do if they were traded. Nothing here retries, concludes or
trades. Import from the modules: this file stays empty so that the command line starts fast.
"""
