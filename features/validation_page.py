"""Validation reports as one HTML page that needs nothing from the internet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from features.validation import Failure, ValidationReport

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2330;
  background: #fff }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { border-bottom: 1px solid #d8dde6; padding: .35rem .6rem; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.critical { color: #a3131b; font-weight: 600 } .warning { color: #8a5a00 } .ok { color: #14682f; font-weight: 600 }
code { background: #eef1f6; padding: 0 .25rem }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #dfe4ec } th, td { border-color: #353c48 }
  code { background: #262c36 } .critical { color: #ff8a8a } .warning { color: #f0bf5a } .ok { color: #7fd69a } }
"""


def html_page(reports: Sequence[ValidationReport], title: str = "Validation") -> str:
    """The page: a verdict per table, then its failures with columns, checks, row counts and values."""
    body = "\n".join(_section(report) for report in reports)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _section(report: ValidationReport) -> str:
    verdict = (
        '<span class="ok">keeps its contract</span>'
        if report.ok
        else '<span class="critical">breaks its contract</span>'
    )
    head = f"<h2>{escape(report.table)}</h2>\n<p>{verdict} · {report.rows:,} rows · {report.checks} checks</p>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    notes = f"<ul>{notes}</ul>" if notes else ""
    if not report.failures:
        return f"{head}{notes}"
    rows = "\n".join(_row(failure) for failure in (*report.critical, *report.warnings))
    return (
        f"{head}{notes}\n<table><thead><tr><th>Severity</th><th>Column</th><th>Check</th><th>Rows</th><th>Share</th>"
        f"<th>Such as</th></tr></thead><tbody>\n{rows}\n</tbody></table>"
    )


def _row(failure: Failure) -> str:
    samples = " ".join(f"<code>{escape(sample)}</code>" for sample in failure.samples)
    return (
        f'<tr><td class="{failure.severity}">{failure.severity}</td><td>{escape(failure.column)}</td>'
        f'<td>{escape(failure.check)}</td><td class="number">{failure.rows:,}</td>'
        f'<td class="number">{failure.share:.2%}</td><td>{samples}</td></tr>'
    )
