/** Colours are told apart with any colour vision, on light and on dark ground. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --ground: #fcfcfb; --card: #ffffff; --ink: #1a1a19; --soft: #6b6a66; --line: #e4e3df;
  --series-1: #2a78d6; --series-2: #eb6834; --series-3: #1baf7a; --series-4: #c98500;
  --series-5: #d55181; --series-6: #008300; --series-7: #4a3aa7; --series-8: #b42c2b;
  --rival: #8b8a85; --share: #2a78d6; --faster: #1baf7a; --slower: #eb6834;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #161615; --card: #1f1f1d; --ink: #f2f1ee; --soft: #a3a29c; --line: #34332f;
    --series-1: #4a94ea; --series-2: #f0804f; --series-3: #2cc48c; --series-4: #eda100;
    --series-5: #e87ba4; --series-6: #3aa53a; --series-7: #9085e9; --series-8: #e66767;
    --rival: #8b8a85;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 18px; margin: 40px 0 4px; }
h3 { font-size: 15px; margin: 0 0 8px; }
p { margin: 4px 0 12px; max-width: 72ch; color: var(--soft); }
p b { color: var(--ink); }
.facts { font-size: 13px; font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 10px; margin-top: 12px; }
.tile, .card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 12px 10px; }
.tile .label { color: var(--soft); font-size: 12px; }
.tile .value { font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile ul { list-style: none; margin: 6px 0 0; padding: 0; font-size: 11.5px; line-height: 1.45; color: var(--soft); }
.tile li b { color: var(--ink); font-variant-numeric: tabular-nums; }
figure { margin: 10px 0 0; padding: 14px 8px 8px; }
figcaption { padding: 0 12px 4px; font-weight: 600; font-size: 13px; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); }
svg .tick { fill: var(--soft); font-variant-numeric: tabular-nums; }
svg polyline { fill: none; stroke: var(--line); stroke-width: 2.2; stroke-linejoin: round; }
svg circle { fill: var(--line); stroke: var(--card); stroke-width: 1.2; }
svg .rival polyline { stroke-width: 1.4; stroke-dasharray: 5 4; }
svg .own:hover polyline, svg .rival:hover polyline { stroke-width: 4; }
svg .name { fill: var(--line); font-weight: 600; }
svg .leader { stroke: var(--soft); stroke-width: 0.6; opacity: 0.5; fill: none; }
input[name="launch"] { position: absolute; opacity: 0; }
input[name="launch"] + label { display: inline-block; padding: 4px 14px; margin-right: 6px; font-size: 13px; cursor: pointer;
  border: 1px solid var(--line); border-radius: 999px; color: var(--soft); }
input[name="launch"]:checked + label { background: var(--ink); color: var(--ground); border-color: var(--ink); }
input[name="launch"]:focus-visible + label { outline: 2px solid var(--series-1); outline-offset: 2px; }
#plain:checked ~ .chained, #chained:checked ~ .plain { display: none; }
.cards { display: grid; gap: 12px; }
.card { padding: 14px 16px; overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 12px 28px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
.heat { border-collapse: separate; border-spacing: 2px; width: 100%; table-layout: fixed; }
.heat caption { text-align: left; color: var(--soft); font-size: 12px; padding-bottom: 4px; }
.heat th { font-weight: 400; color: var(--soft); text-align: right; padding: 2px 6px; white-space: nowrap; }
.heat th:first-child { width: 92px; text-align: left; padding-left: 0; }
.heat td { text-align: center; padding: 5px 2px; border-radius: 4px; background: color-mix(in srgb, var(--line) 35%, transparent); }
.heat .share { background: color-mix(in srgb, var(--share) calc(var(--level) * 0.75), var(--card)); }
.heat .faster { background: color-mix(in srgb, var(--faster) calc(var(--level) * 0.85), var(--card)); }
.heat .slower { background: color-mix(in srgb, var(--slower) calc(var(--level) * 0.85), var(--card)); }
details { margin-top: 32px; }
summary { cursor: pointer; font-weight: 600; }
.scroll { overflow-x: auto; margin-top: 10px; }
.all th { text-align: left; color: var(--soft); font-weight: 400; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); }
.all td { padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
.all code { font-size: 11.5px; color: var(--soft); }
`
