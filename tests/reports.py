"""The report's functions, given what result files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dola.reports import against, completions, figures, text, view
from dola.reports import page as pages
from dola.result import Comparison, Result
from dola.runs import across as comparing

File = Mapping[str, Any]


def of(files: Sequence[File]) -> list[Result]:
    return [Result.from_json(file) for file in files]


def page(files: Sequence[File], **settings: Any) -> str:
    return pages.page(of(files), **settings)


def markdown(files: Sequence[File], **settings: Any) -> str:
    return text.markdown(of(files), **settings)


def csv_table(files: Sequence[File], **settings: Any) -> str:
    return text.csv_table(of(files), **settings)


def view_of(file: File) -> view.TableView:
    return view.view_of(Result.from_json(file))


def interval_plot(file: File) -> figures.IntervalPlot | None:
    return figures.interval_plot(Result.from_json(file))


def examples(file: File) -> list[completions.ExampleView]:
    return completions.examples(Result.from_json(file))


def against_paper(file: File, **settings: Any) -> against.PaperView:
    return against.against_paper(Result.from_json(file), **settings)


def across(files: Sequence[tuple[Path, File]]) -> list[Comparison]:
    return comparing.across([(path, Result.from_json(file)) for path, file in files])
