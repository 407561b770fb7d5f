"""Prompting strategies, one module each: a settings Section and `answered(model, items, pool, settings, form, seed)`.

This file imports none of them, so that the fingerprint of one strategy does not hold the code of the others.
"""
