"""Documents to a decision: which to keep, and why not the others.

In: documents.
Out: quality signals, near duplicates, contamination, keep-lists, a ledger.
Called by: the stages screen and select.
"""
