"""`ai completion SHELL`: the script that completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from paios.interfaces.cli.door import Door


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(door: Door, shell: str) -> None:
    """Prints the completion script. For bash: `ai completion bash >> ~/.bashrc`."""
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(click.Group("ai"), {}, "ai", "_AI_COMPLETE").source())
