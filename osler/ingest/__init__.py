"""Raw bytes to documents.

In: the files of a source, and how its section reads them.
Out: documents, one row each, with license and origin; a ledger of those that are none; recall on planted identifiers.
Called by: the stages ingest and tasks.
"""
