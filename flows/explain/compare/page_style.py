"""The style of the page that `solon diff --html` writes: two colour schemes, one accent."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #22252b; --soft: #5c626d; --line: #dedbd2; --sheet: #ffffff;
  --accent: #1d5c73; --ins: #dcefdd; --ins-ink: #12491f; --del: #f7e0dc; --del-ink: #7c1d12;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --ink: #dfe1e5; --soft: #9aa0ab; --line: #33373f; --sheet: #1d2025;
    --accent: #7cc0d8; --ins: #173a22; --ins-ink: #b5e6c0; --del: #46201b; --del-ink: #f5bdb3;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
header, nav, main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
footer { padding-top: 2rem; padding-bottom: 3rem; color: var(--soft); font-size: .85rem; }
h1, h2, h3 { line-height: 1.25; font-weight: 600; text-wrap: balance; }
h1 { font-size: 1.6rem; margin: 0 0 1.25rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: .75rem;
     border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; }
h4 { font-size: .8rem; font-weight: 600; margin: 0 0 .3rem; color: var(--soft); }
p { margin: .5rem 0; }
a { color: var(--accent); text-underline-offset: .15em; }
a:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--sheet); padding: .4rem .8rem; }
.soft { color: var(--soft); font-size: .9rem; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; margin: 0 0 1.25rem; }
.side { border-left: 3px solid var(--accent); padding-left: .9rem; }
.side b { font-weight: 600; }
.side span { display: block; }
code { font: .85em ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; margin: 1rem 0 0;
         list-style: none; }
.found { padding-left: 1.1rem; margin: 0; }
.scroll + .scroll { margin-top: 1.5rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); background: var(--sheet); }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
        font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .45rem .8rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.wide { white-space: normal; overflow-wrap: anywhere; min-width: 12rem; text-align: left; }
thead th { font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 400; }
article { background: var(--sheet); border: 1px solid var(--line); padding: 1.1rem 1.25rem 1.25rem;
          margin: 1rem 0; }
article > header { max-width: none; padding: 0; margin: 0 0 .75rem; }
.tag { display: inline-block; font-size: .8rem; color: var(--accent); margin-inline-end: .75rem; }
.words { white-space: pre-wrap; unicode-bidi: isolate; overflow-wrap: anywhere; margin: 0;
         font-family: Charter, "Bitstream Charter", Georgia, "Noto Serif", serif; }
.prompt { font-family: inherit; font-weight: 600; max-height: 12rem; overflow-y: auto; }
.field + .field { margin-top: 1rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 2rem; }
.pair + .pair { margin-top: 1rem; padding-top: 1rem; border-top: 1px dashed var(--line); }
.pair > div + div { border-left: 1px solid var(--line); padding-left: 2rem; margin-left: -1rem; }
ins, del { unicode-bidi: isolate; border-radius: 2px; padding: 0 .1em; }
ins { background: var(--ins); color: var(--ins-ink); text-decoration: underline;
      text-decoration-thickness: 1px; text-underline-offset: .2em; }
del { background: var(--del); color: var(--del-ink); text-decoration: line-through; }
@media (max-width: 44rem) {
  header, nav, main, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.5rem; }
  .sides, .pair { grid-template-columns: minmax(0, 1fr); gap: 1rem; }
  .pair > div + div { border-left: 0; padding-left: 0; margin-left: 0; }
  article { padding: .9rem 1rem 1rem; }
}
@media print { body { background: none; } article { break-inside: avoid; } nav { display: none; } }
"""
