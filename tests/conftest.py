"""Settings of all tests."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # the first example may compile what it calls
settings.load_profile("untimed")
