"""What happened, append-only: decisions, plans, transactions, fills and gas, and their audits.

``store.Ledger`` writes and folds, ``queries`` reads it for reports, ``gas_audit`` adds the gas up,
``reconcile`` compares it with the chain to the wei. Import from the modules: this file stays empty
of imports so that the command line starts before SQLAlchemy does.
"""
