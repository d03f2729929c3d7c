"""The page style of the product: one file that opens offline, and asks for nothing.

A content policy forbids every connection and frame, and every script but the one whose hash it
names; pictures and data lie inside the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Any

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
_OPTION = re.compile(r"--[a-z][a-z-]*")
_CSS = """
:root{color-scheme:light;--ink:#1d2733;--faint:#5d6875;--line:#e3e7ec;--paper:#fff;--back:#f5f7f9}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 20px 48px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 12px}
h3{font-size:15px;margin:20px 0 8px;overflow-wrap:anywhere}
p{margin:0 0 8px;max-width:70ch;overflow-wrap:anywhere}
.lead{color:var(--faint)}
section{background:var(--paper);border:1px solid var(--line);border-radius:8px;
padding:20px;margin:20px 0 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:8px 16px 8px 0;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--faint);font-weight:600;font-size:14px}
th[scope=row]{font-weight:600}
.state{display:inline-block;min-width:5.2em;text-align:center;border-radius:4px;
padding:0 8px;font-size:14px;border:1px solid var(--faint);white-space:nowrap}
.state.found{background:#d55e00;border-color:#b04d00;color:#fff;font-weight:600}
.state.clear{background:#fff;color:var(--ink)}
.state.unknown{background:#fff;color:var(--faint);border-style:dashed}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
code{font:inherit;white-space:nowrap}
.range{display:block;white-space:nowrap;color:var(--faint);font-size:14px}
.small{color:var(--faint);font-size:14px}
figure{margin:0}
img{display:block;width:100%;height:auto}
ul{margin:0;padding-left:20px}
li{margin:0 0 4px;max-width:70ch}
@media (max-width:600px){
main{padding:20px 12px 32px}
section{padding:14px;border-radius:6px}
h1{font-size:21px}
table:not(.stacked) :is(thead th,td){min-width:6em;padding-right:8px;overflow-wrap:anywhere}
table.stacked thead{display:none}
table.stacked tr{display:block;border-top:1px solid var(--line);padding:10px 0}
table.stacked th,table.stacked td{display:block;border:0;padding:2px 0;text-align:left}
table.stacked td[data-label]{display:flex;gap:8px}
table.stacked td[data-label]:empty{display:none}
td[data-label]::before{content:attr(data-label);flex:0 0 9.5em;color:var(--faint);font-size:14px}
}
@media print{body{background:#fff}section{break-inside:avoid}}
""".strip()
_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>
$css
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="lead">$lead</p>
$body
</main>
$script</body>
</html>
"""
)


def page(
    title: str, lead: str, sections: Iterable[str], *, script: str = "", style: str = ""
) -> str:
    """A whole page.

    Args:
        title: Its name, plain text.
        lead: What it is about, plain text.
        sections: What `section` made.
        script: What the page runs, from a file of this package; its hash goes into the policy.
        style: CSS of its own, beside that of all pages.
    """
    return _PAGE.substitute(
        policy=f"{POLICY}; script-src '{_hash(script)}'" if script else POLICY,
        css=f"{_CSS}\n{style}" if style else _CSS,
        script=f"<script>{script}</script>\n" if script else "",
        title=escape(title),
        lead=escape(lead),
        body="\n".join(sections),
    )


def section(title: str, *parts: str, seen: bool = True) -> str:
    """A section under its title.

    Args:
        title: Plain text.
        parts: Made by this module.
        seen: False where a picture shows the title already; it is then there to be read aloud.
    """
    head = "<h2>" if seen else '<h2 class="unseen">'
    return f"<section>\n{head}{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `small` is a side remark."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def listed(texts: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def picture(wide: bytes, narrow: bytes, told: str) -> str:
    """A picture inside the page, with another one for narrow screens.

    Args:
        wide, narrow: PNG.
        told: What it shows, for whoever cannot see it.
    """
    return (
        f'<figure><picture><source media="(max-width:600px)" srcset="{_inline(narrow)}">'
        f'<img alt="{escape(told)}" src="{_inline(wide)}"></picture></figure>'
    )


def data(name: str, value: Any) -> str:
    """Plain values that the page's script reads from the element of this name."""
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    closed = plain.replace("<", "\\u003c").replace("&", "\\u0026")
    return f'<script type="application/json" id="{escape(name)}">{closed}</script>'


def state(word: str, kind: str = "") -> str:
    """A state as a small sign.

    Args:
        word: What it says.
        kind: `found`, `clear` or `unknown`; left out, the word itself.
    """
    return f'<span class="state {escape(kind or word)}">{escape(word)}</span>'


def advice(text: str) -> str:
    """A side remark inside a cell, whose options are not broken over lines."""
    return f'<div class="small">{_OPTION.sub(_as_code, escape(text))}</div>'


def measured(value: str, interval: str) -> str:
    """A figure and below it its interval, neither of them broken over lines."""
    below = f'<span class="range">{escape(interval)}</span>' if interval else ""
    return f"<span>{escape(value).replace(' ', '&nbsp;')}{below}</span>"


def _as_code(found: re.Match[str]) -> str:
    return f"<code>{found[0]}</code>"


def cells(texts: Sequence[str]) -> list[str]:
    """Plain texts as contents of cells."""
    return [escape(text) for text in texts]


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    stack: bool = True,
    labels: bool = False,
) -> str:
    """A table whose first column names its rows.

    Args:
        head: Plain texts.
        rows: Contents of cells, as `cells`, `state` and `advice` made them.
        stack: Whether a narrow screen shows cells below one another; else it scrolls sideways.
        labels: Whether such cells name their columns, as bare figures need it.
    """
    titles = "".join(f"<th>{escape(text)}</th>" for text in head)
    named = [f' data-label="{escape(text)}"' if labels else "" for text in head[1:]]
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td{name}>{one}</td>" for name, one in zip(named, rest, strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    look = ' class="stacked"' if stack else ""
    start = f'<div class="scroll"><table{look}><thead><tr>{titles}</tr></thead>'
    return f"{start}\n<tbody>\n{body}\n</tbody></table></div>"


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _hash(script: str) -> str:
    """What a content policy calls a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
