"""Commands that look at a build before it runs, and at the machine."""

from pathlib import Path
from typing import Annotated

import typer

from osler.build.section import BuildError
from osler.commands.errors import one_line_errors


def check() -> None:
    """Is params.yaml whole, known and in range?

    Looks at every section, every name that refers to another one, and whether raw files are there. Has the chat template
    write a conversation. Builds nothing. 3 s.

    \b
    Example:
        osler check
    """
    from osler.commands import check as command

    with one_line_errors():
        command.say()


def profile(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="a file of profiles/, without .yaml", show_default=False),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="absolute folder that the profile's paths are relative to", show_default=False)
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="show what NAME would change in params.yaml, leaf by leaf")
    ] = False,
    new: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="print a first profile for the files of this folder", show_default=False),
    ] = None,
    add_benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="NAME [NAME]...",
            help="add benchmarks of the Hub to params.yaml, and to the profile that it was written from",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="with --add-benchmark: to this file of profiles/ alone", show_default=False),
    ] = None,
    list_benchmarks: Annotated[
        bool, typer.Option("--list-benchmarks", help="print the benchmarks that --add-benchmark knows")
    ] = False,
) -> None:
    """Write params.yaml from a profile, or show the difference.

    \b
    Examples:
        osler profile real-small --root /data
        osler profile mistral-7b --diff
        osler profile --new /data/our-notes > profiles/ours.yaml
        osler profile --add-benchmark medqa medmcqa --to profiles/ours.yaml
    """
    from osler.commands import profile as command

    with one_line_errors():
        if to and not add_benchmark:
            raise BuildError("--to: says where --add-benchmark writes; name a benchmark with that")
        if list_benchmarks:
            command.say_benchmarks()
        elif add_benchmark:
            if root or diff or new:
                raise BuildError("--add-benchmark: takes no --root, --diff or --new; run it alone")
            command.say_added([add_benchmark, *(names or [])], to)
        else:
            command.say(names or [], root, diff, new)


def plan(
    profile: Annotated[
        str | None,
        typer.Argument(help="a file of profiles/, without .yaml; else the params in force", show_default=False),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(help="with a profile: absolute folder that its paths are relative to", show_default=False),
    ] = None,
    launch: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="another value of `launch`; may be repeated", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="a100, h100 ...: for device-hours, and to see what does not fit", show_default=False),
    ] = None,
    mfu: Annotated[float, typer.Option(help="share of the device's peak that is reached")] = 0.4,
    price: Annotated[
        float | None, typer.Option(help="of an hour of one device, in any currency", show_default=False)
    ] = None,
    conversation_tokens: Annotated[int, typer.Option(help="assumed where none are tokenized yet")] = 500,
) -> None:
    """What would run and why, and what training would cost.

    Before anything runs, and without writing anything.

    \b
    Examples:
        osler plan
        osler plan mixtral-8x7b --root /data
        osler plan --device h100 --mfu 0.4 --price 2.5
        osler plan mistral-7b --launch nodes=8
    """
    from osler.commands import plan as command

    with one_line_errors(pipes=True):
        asked = command.Asked(tuple(launch or ()), device, mfu, price, conversation_tokens)
        command.say(asked, profile, root)


def doctor(
    verify: Annotated[
        bool, typer.Option("--verify", help="compare all that was built with its hashes instead: 0.6 GB/s a core")
    ] = False,
) -> None:
    """What this machine and its packages can do, in one screen.

    \b
    Examples:
        osler doctor
        osler doctor --verify
    """
    from osler.commands import doctor as command
    from osler.commands import verify as verification

    with one_line_errors(pipes=not verify):
        verification.say() if verify else command.say()


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="remove what is listed as of other params or inputs")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="with --yes: also those that a run would go on from, and milestones")
    ] = False,
) -> None:
    """Checkpoints that no run goes on from: a list, or without them.

    Each training stage keeps the checkpoints of an unfinished run in scratch/, also when its params have changed.

    \b
    Examples:
        osler clean
        osler clean --yes
    """
    from osler.commands import clean as command

    with one_line_errors():
        command.say(yes, everything)
