"""One cycle from the chain to the ledger, the schedule it runs by, and what may stop it.

``cycle`` is the line of docs/architecture.md as code; ``reading`` lets several portfolios share a
pass over the chain; ``lease`` keeps a second process out, ``stop`` is the kill switch, ``doctor``
looks whether a cycle would work.
"""
