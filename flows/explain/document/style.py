"""How a page looks: on a phone and on a desk, by day and by night. Charts take its colours."""

from __future__ import annotations

from flows.explain.document.parts import Picture

LIGHT = (
    "--paper:#fbfaf7;--ink:#22252b;--soft:#5c626d;--line:#dedbd2;--sheet:#ffffff;"
    "--accent:#1d5c73;--ins:#dcefdd;--ins-ink:#12491f;--del:#f7e0dc;--del-ink:#7c1d12;"
    "--base:#6b717c;--sft:#2f6fb0;--dpo:#1f8175;--ppo:#b8631a;--champion:#7a52b8"
)
DARK = (
    "--paper:#16181c;--ink:#dfe1e5;--soft:#9aa0ab;--line:#33373f;--sheet:#1d2025;"
    "--accent:#7cc0d8;--ins:#173a22;--ins-ink:#b5e6c0;--del:#46201b;--del-ink:#f5bdb3;"
    "--base:#a2a8b3;--sft:#79b2ec;--dpo:#5fc9ba;--ppo:#f0a560;--champion:#b99af0"
)
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'
CHART = f"""
svg.chart {{ display: block; width: 100%; height: auto; font: 12px {FONT}; }}
svg.chart text {{ fill: var(--ink); paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px; stroke-linejoin: round; }}
svg.chart text.own {{ fill: currentColor; }}
svg.chart .soft {{ fill: var(--soft); font-size: 11px; }}
svg.chart .grid {{ stroke: var(--line); fill: none; }}
svg.chart .rule {{ stroke: var(--soft); stroke-dasharray: 3 3; fill: none; }}
svg.chart .mark {{ fill: currentColor; stroke: var(--paper); stroke-width: .8; }}
svg.chart .bar {{ stroke: currentColor; stroke-width: 2; fill: none; }}
svg.chart .span {{ fill: currentColor; opacity: .18; stroke: none; }}
svg.chart .dashed {{ stroke-dasharray: 5 3; }}
svg.chart .ink {{ color: var(--ink); }}
svg.chart .base {{ color: var(--base); }}
svg.chart .sft {{ color: var(--sft); }}
svg.chart .dpo {{ color: var(--dpo); }}
svg.chart .ppo {{ color: var(--ppo); }}
svg.chart .champion {{ color: var(--champion); }}
"""
CSS = f"""
:root {{ color-scheme: light dark; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
body {{
  margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 {FONT}; overflow-wrap: anywhere;
}}
h1, h2, h3, summary {{ line-height: 1.25; font-weight: 600; text-wrap: balance; }}
h1 {{ font-size: 1.6rem; }}
h2, summary {{ font-size: 1.25rem; margin: 3rem 0 .75rem; border-top: 1px solid var(--line);
     padding-top: .75rem; scroll-margin-top: 1rem; }}
summary {{ cursor: pointer; }}
h3 {{ font-size: 1rem; margin: 2rem 0 0; max-height: 12rem; overflow-y: auto; }}
p {{ margin: .5rem 0; }}
img {{ display: block; max-width: 100%; margin: 1rem 0; }}
h3, p, li, td {{ white-space: pre-line; }}
p, footer, figcaption {{ color: var(--soft); font-size: .9rem; }}
footer {{ margin-top: 2rem; }}
a {{ color: var(--accent); text-underline-offset: .15em; }}
nav ul {{ display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; list-style: none; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-size: .9rem;
        font-variant-numeric: tabular-nums; overflow-wrap: normal; }}
th, td {{ padding: .45rem 2rem .45rem 0; text-align: start; vertical-align: top; max-width: 24rem;
         border-bottom: 1px solid var(--line); }}
td {{ overflow-wrap: anywhere; min-width: 3rem; }}
td:first-child {{ min-width: 8.5rem; }}
th {{ font-weight: 600; color: var(--soft); white-space: nowrap; }}
table.figures {{ display: table; width: 100%; }}
.figures thead {{ position: sticky; top: 0; background: var(--paper); }}
.figures td {{ overflow-wrap: normal; }}
td b {{ display: block; font-weight: 600; }}
td small {{ display: block; color: var(--soft); font-size: .8rem; }}
td span {{ display: inline-block; font-size: .8rem; padding: 0 .35em; border-radius: 3px;
          background: var(--line); }}
td.better span {{ background: var(--ins); color: var(--ins-ink); }}
td.worse span {{ background: var(--del); color: var(--del-ink); }}
.charts {{ columns: 2 24rem; column-gap: 2.5rem; margin: 1rem 0; }}
figure {{ margin: 0 0 1.5rem; max-width: 36rem; break-inside: avoid; }}
.texts {{ display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); }}
.beside {{ display: grid; gap: 0 1rem;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }}
.words {{ white-space: pre-wrap; padding: .6rem .9rem; background: var(--sheet);
         border: 1px solid var(--line);
         font-family: Charter, "Bitstream Charter", Georgia, "Noto Serif", serif; }}
.B {{ border-left: 0; }}
.A::before, .B::before {{ content: "A\\a"; font: .8rem {FONT}; color: var(--soft); }}
.B::before {{ content: "B\\a"; }}
ins, del {{ unicode-bidi: isolate; border-radius: 2px; padding: 0 .1em; }}
ins {{ background: var(--ins); color: var(--ins-ink); text-underline-offset: .2em; }}
del {{ background: var(--del); color: var(--del-ink); }}
@media (max-width: 44rem) {{
  .texts {{ grid-auto-flow: row; }}
  .B {{ border: 1px solid var(--line); }}
  body {{ padding: 1rem; }}
  ul {{ padding-inline-start: 1.25rem; }}
  th, td {{ padding-inline-end: 1rem; }}
  .figures, .figures thead, .figures tbody {{ display: block; }}
  .figures tr {{ display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--line);
                padding: .4rem 0; }}
  .figures th, .figures td {{ flex: 1 1 0; border: 0; padding: 0 .3rem 0 0; min-width: 0; }}
  .figures th {{ white-space: normal; }}
  .figures th:first-child {{ display: none; }}
  .figures td:first-child {{ flex: 0 0 100%; max-width: none; }}
  .figures td:first-child > * {{ display: inline; margin-inline-end: .5rem; }}
  .figures td small, .figures td span {{ font-size: .7rem; }}
}}
@media print {{ body {{ background: none; }} .texts {{ break-inside: avoid; }}
               nav {{ display: none; }} }}
"""
_ALONE = (
    f"<style>svg.chart{{{LIGHT};background:var(--paper)}}"
    f"@media (prefers-color-scheme:dark){{svg.chart{{{DARK}}}}}{CHART}</style>"
)


def alone(picture: Picture) -> str:
    """A picture as a file of its own: a chart brings its colours and its paper."""
    return picture.svg.replace(">", f">{_ALONE}", 1) if picture.is_chart else picture.svg
