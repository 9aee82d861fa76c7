"""One self-contained HTML page: no network, no script but a search, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dola.report.against import PaperView
from dola.report.completions import examples
from dola.report.examples import changed_examples, groups
from dola.report.figures import interval_plot, layer_plot
from dola.report.reading import changing_metric, is_generation, strategy_rows
from dola.report.view import KINDS, TableView, comparison_view, metric_name, view_of


def page(
    results: Sequence[Mapping[str, Any]],
    *,
    comparisons: Sequence[Mapping[str, Any]] = (),
    papers: Sequence[PaperView | None] = (),
) -> str:
    """The page of these results, a section each.

    Args:
        comparisons: several results set against each other, as `runs.across` makes them; they come first.
        papers: for each result what the paper has beside it; none where it is empty.
    """
    beside = papers or [None] * len(results)
    sections = [_section(result, paper) for result, paper in zip(results, beside, strict=True)]
    title = sections[0]["view"].title if len(sections) == 1 else f"{len(sections)} results"
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            sections=sections,
            comparisons=[_table(each, comparison_view(each)) for each in comparisons],
            kinds=KINDS,
        )
    )


def layer_figure(result: Mapping[str, Any]) -> str:
    """The figure of a `dola tune` result, as an SVG file of its own."""
    return _environment().get_template("layers.svg").render(plot=layer_plot(result["dola"]))


def _table(rows: Mapping[str, Any], view: TableView) -> dict[str, Any]:
    return {
        "view": view,
        "plot": interval_plot(rows),
        "first": rows["rows"][0]["label"],
        "metric": changing_metric(rows),
    }


def _section(result: Mapping[str, Any], paper: PaperView | None) -> dict[str, Any]:
    ours = result["dola"]
    generation = is_generation(ours)
    return _table(ours, view_of(result)) | {
        "layer_plot": layer_plot(ours) if ours.get("tuning", {}).get("static") else None,
        "tuning": ours.get("tuning"),
        "groups": groups(ours),
        "changed": [] if generation else changed_examples(ours),
        "examples": examples(ours) if generation else [],
        "strategies": [row["label"] for row in strategy_rows(ours)],
        "paper": paper,
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
    environment.filters["metric_name"] = metric_name
    return environment
