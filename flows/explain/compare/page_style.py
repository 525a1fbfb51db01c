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
body {
  margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3 { line-height: 1.25; font-weight: 600; text-wrap: balance; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; border-top: 1px solid var(--line);
     padding-top: .75rem; }
h3 { font-size: 1rem; margin: 2rem 0 0; max-height: 12rem; overflow-y: auto; }
p { margin: .5rem 0; }
h3, p, li, td { white-space: pre-line; }
p, footer { color: var(--soft); font-size: .9rem; }
footer { margin-top: 2rem; }
a { color: var(--accent); text-underline-offset: .15em; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; list-style: none; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9rem;
        font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .45rem 2rem .45rem 0; text-align: start; max-width: 24rem;
         border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; min-width: 3rem; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
.texts { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); }
.words { white-space: pre-wrap; padding: .6rem .9rem; background: var(--sheet);
         border: 1px solid var(--line);
         font-family: Charter, "Bitstream Charter", Georgia, "Noto Serif", serif; }
.B { border-left: 0; }
.A::before, .B::before { content: "A\\a"; font: .8rem system-ui, sans-serif; color: var(--soft); }
.B::before { content: "B\\a"; }
ins, del { unicode-bidi: isolate; border-radius: 2px; padding: 0 .1em; }
ins { background: var(--ins); color: var(--ins-ink); text-underline-offset: .2em; }
del { background: var(--del); color: var(--del-ink); }
@media (max-width: 44rem) { .texts { grid-auto-flow: row; } .B { border: 1px solid var(--line); } }
@media print { body { background: none; } .texts { break-inside: avoid; } nav { display: none; } }
"""
