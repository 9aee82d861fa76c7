"""One self-contained HTML page: no network, no script but a search, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dola.reports.again import ways_to_run
from dola.reports.against import PaperView
from dola.reports.completions import examples
from dola.reports.examples import changed_examples, groups
from dola.reports.figures import interval_plot, layer_plot
from dola.reports.reading import Tabled, changing_metric, is_generation, strategy_rows
from dola.reports.view import KINDS, TableView, comparison_view, metric_name, view_of
from dola.result import Comparison, Result


def page(
    results: Sequence[Result],
    *,
    comparisons: Sequence[Comparison] = (),
    papers: Sequence[PaperView | None] = (),
) -> str:
    """The page of these results, a section each.

    Args:
        comparisons: several results set against each other; they come first.
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


def layer_figure(result: Result) -> str:
    """The figure of a `dola tune` result, as an SVG file of its own."""
    if result.tuning is None:
        raise ValueError("not a result of `dola tune`")
    return _environment().get_template("layers.svg").render(plot=layer_plot(result, result.tuning))


def _table(table: Tabled, view: TableView) -> dict[str, Any]:
    return {
        "view": view,
        "plot": interval_plot(table),
        "first": table.rows[0].label,
        "metric": changing_metric(table),
    }


def _section(result: Result, paper: PaperView | None) -> dict[str, Any]:
    generation, tuning = is_generation(result), result.tuning
    return _table(result, view_of(result)) | {
        "layer_plot": layer_plot(result, tuning) if tuning and tuning.static else None,
        "tuning": tuning,
        "groups": groups(result),
        "changed": [] if generation else changed_examples(result),
        "examples": examples(result) if generation else [],
        "strategies": [row.label for row in strategy_rows(result)],
        "paper": paper,
        "again": ways_to_run(result),
    }


def _environment() -> Environment:
    # Everything is escaped: what is not a template of ours is a question, an answer or a name.
    environment = Environment(
        loader=PackageLoader("dola.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["figure_width"] = 1000
    environment.filters["metric_name"] = metric_name
    return environment
