"""Tables and documents for people and programs, from the model's objects and the ledger.

``*_document`` returns plain data for ``--json``; ``*_view`` returns Rich tables.
"""
