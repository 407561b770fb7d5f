"""The invented clinic.

In: counts and a seed.
Out: documents, instructions, benchmark items and tasks.
Called by: the stage synthesize.
"""
