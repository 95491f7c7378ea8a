/** What reports share. Colours are told apart with any colour vision, on light and on dark ground. */
export const reportStyle = `
:root {
  color-scheme: light dark;
  --ground: #fcfcfb; --card: #ffffff; --ink: #1a1a19; --soft: #6b6a66; --line: #e4e3df;
  --series-1: #2a78d6; --series-2: #eb6834; --series-3: #1baf7a; --series-4: #c98500;
  --series-5: #d55181; --series-6: #008300; --series-7: #4a3aa7; --series-8: #b42c2b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #161615; --card: #1f1f1d; --ink: #f2f1ee; --soft: #a3a29c; --line: #34332f;
    --series-1: #4a94ea; --series-2: #f0804f; --series-3: #2cc48c; --series-4: #eda100;
    --series-5: #e87ba4; --series-6: #3aa53a; --series-7: #9085e9; --series-8: #e66767;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 18px; margin: 40px 0 4px; }
p { margin: 4px 0 12px; max-width: 72ch; color: var(--soft); }
.facts { font-size: 13px; font-variant-numeric: tabular-nums; }
.tile, .card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile .value { font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); }
svg .tick { fill: var(--soft); font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
.heat { border-collapse: separate; border-spacing: 2px; width: 100%; table-layout: fixed; }
`
