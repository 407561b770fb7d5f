"""The stages of the build.

Every module directly in this folder is a DVC stage of that name.
"""

from osler.build.process import prepare

prepare()
