# SPDX-License-Identifier: BSD-3-Clause
"""How a report's page looks, and the few lines of script that sort its tables."""

from __future__ import annotations

STYLE = """
:root {
  --page: #ffffff; --text: #1b1f24; --soft: #57606a; --line: #d0d7de; --card: #f6f8fa;
  --upstream: #6e7781; --own: #0969da; --sparse: #1a7f37; --bound: #9a6700;
  --nhwc: #0969da; --cnhw: #1a7f37; --between: #9a6700; --other: #6e7781;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d1117; --text: #e6edf3; --soft: #9aa4af; --line: #3d444d; --card: #161b22;
    --upstream: #9aa4af; --own: #58a6ff; --sparse: #3fb950; --bound: #d29922;
    --nhwc: #58a6ff; --cnhw: #3fb950; --between: #d29922; --other: #9aa4af;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
p, ul { max-width: 48rem; }
.soft, figcaption small { color: var(--soft); }
figure { margin: 0; }
figcaption small { display: block; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--text); font-size: 11px; font-family: inherit; }
svg .soft { fill: var(--soft); }
svg .line { stroke: var(--line); } svg .roof { stroke: var(--bound); stroke-width: 2; fill: none; }
.upstream { fill: var(--upstream); } .own { fill: var(--own); } .sparse { fill: var(--sparse); }
.bound { fill: var(--bound); }
.whole { max-width: 36rem; } .roofline { max-width: 36rem; }
.roofline rect, .roofline circle { stroke: var(--page); stroke-width: .7; }
.bars {
  display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
}
.bars figure {
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem;
}
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.legend svg { display: inline-block; width: 12px; height: 12px; margin-right: .35rem; }
.graph { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 3px; max-width: none; }
.graph li { border-left: 6px solid var(--other); background: var(--card); padding: .15rem .5rem; }
.graph li { font-size: .85rem; }
.graph .nhwc { border-color: var(--nhwc); } .graph .cnhw { border-color: var(--cnhw); }
.graph .between { border-color: var(--between); font-weight: 600; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
.scroll:focus-visible, button:focus-visible { outline: 2px solid var(--own); }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td {
  padding: .3rem .6rem; text-align: left; vertical-align: top; overflow-wrap: normal;
  border-bottom: 1px solid var(--line);
}
tbody tr:last-child > * { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.text { min-width: 11rem; } td.word, thead th { white-space: nowrap; }
tbody th {
  position: sticky; left: 0; background: var(--page); min-width: min(11.5rem, 40vw);
  overflow-wrap: anywhere;
}
thead th { background: var(--card); }
th button {
  font: inherit; color: inherit; text-align: inherit; background: none; border: 0; padding: 0;
  cursor: pointer;
}
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
"""

SCRIPT = """
document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.closest("th"), rows = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending", at = head.cellIndex;
  const of = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent;
  const numbers = head.classList.contains("number");
  const last = (text) => text === "" ? Infinity : up ? Number(text) : -Number(text);
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  rows.append(...[...rows.rows].sort((a, b) => numbers
    ? (last(of(a)) - last(of(b)) || 0)
    : (up ? 1 : -1) * of(a).localeCompare(of(b))));
}));
"""
