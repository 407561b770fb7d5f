"""Findings as people read them.

In: statistics.
Out: metrics files, pages, figures, model cards.
Called by: the stage report, and the commands show and export.
"""
