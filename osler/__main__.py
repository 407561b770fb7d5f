"""`python -m osler`: the command line of the project stood in."""

from osler.commands.main import run

run()
