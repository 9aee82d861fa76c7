"""One self-contained HTML page: no network, no script but a search, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dola.report.examples import changed_examples, groups
from dola.report.figures import interval_plot, layer_plot
from dola.report.view import KINDS, view_of


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page of these results, a section each."""
    sections = [_section(result) for result in results]
    title = sections[0]["view"].title if len(sections) == 1 else f"{len(sections)} results"
    return _environment().get_template("page.html").render(title=title, sections=sections, kinds=KINDS)


def layer_figure(result: Mapping[str, Any]) -> str:
    """The figure of a `dola tune` result, as an SVG file of its own."""
    return _environment().get_template("layers.svg").render(plot=layer_plot(result["dola"]))


def _section(result: Mapping[str, Any]) -> dict[str, Any]:
    ours = result["dola"]
    changed = changed_examples(ours)
    return {
        "view": view_of(result),
        "plot": interval_plot(ours),
        "layer_plot": layer_plot(ours) if "tuning" in ours else None,
        "tuning": ours.get("tuning"),
        "first": ours["rows"][0]["label"],
        "metric": ours["binary"][0] if ours["binary"] else "",
        "groups": groups(ours),
        "changed": changed,
        "strategies": [row["label"] for row in ours["rows"] if row["kind"] == "strategy"],
    }


def _environment() -> Environment:
    # Everything is escaped: what is not a template of ours is a question, an answer or a name.
    environment = Environment(
        loader=PackageLoader("dola.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["figure_width"] = 1000
    return environment
