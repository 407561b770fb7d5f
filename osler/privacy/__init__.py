"""Identifiers of patients: planted, found, replaced, measured.

They are of the 18 classes of HIPAA's Safe Harbor.

In: texts with identifiers.
Out: texts with surrogates in their place, counts, recall.
Called by: the stage ingest.
"""
