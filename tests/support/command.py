"""The command line in this process, so that a test can replace what it reads."""

from osler.commands.main import app


def osler(*arguments: str) -> None:
    """Run `osler` with `arguments`; an error is a SystemExit, as from the shell."""
    app(args=list(arguments), prog_name="osler", standalone_mode=False)
