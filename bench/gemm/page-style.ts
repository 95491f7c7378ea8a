import { reportStyle } from '../../cli/report-style.ts'

export const pageStyle = `${reportStyle}
:root {
  --rival: #8b8a85; --share: #2a78d6; --faster: #1baf7a; --slower: #eb6834;
}
@media (prefers-color-scheme: dark) {
  :root {
    --rival: #8b8a85;
  }
}
h3 { font-size: 15px; margin: 0 0 8px; }
p b { color: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 10px; margin-top: 12px; }
.tile { padding: 12px 12px 10px; }
.tile .label { color: var(--soft); font-size: 12px; }
.tile ul { list-style: none; margin: 6px 0 0; padding: 0; font-size: 11.5px; line-height: 1.45; color: var(--soft); }
.tile li b { color: var(--ink); font-variant-numeric: tabular-nums; }
figure { margin: 10px 0 0; padding: 14px 8px 8px; }
figcaption { padding: 0 12px 4px; font-weight: 600; font-size: 13px; }
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
