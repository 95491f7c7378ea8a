import { reportStyle } from '../../report-style.ts'

export const pageStyle = `${reportStyle}
:root {
  --few: #1baf7a; --many: #4a3aa7; --good: #2a78d6; --faster: #0d8a5d; --slower: #c4501f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --few: #2cc48c; --many: #9085e9; --good: #4a94ea; --faster: #2cc48c; --slower: #f0804f;
  }
}
h3 { font-size: 13px; margin: 0 0 10px; color: var(--soft); font-weight: 500; }
.warning { color: var(--slower); font-weight: 600; }
nav { margin-top: 14px; }
nav button { font: inherit; font-size: 13px; padding: 4px 14px; margin: 0 6px 6px 0; cursor: pointer; color: var(--soft);
  background: none; border: 1px solid var(--line); border-radius: 999px; }
nav button[aria-pressed="true"] { background: var(--ink); color: var(--ground); border-color: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(116px, 1fr)); gap: 10px; margin-top: 14px; }
.tile { padding: 12px; }
.tile .label { color: var(--soft); font-size: 12px; white-space: nowrap; }
figure { margin: 10px 0 0; padding: 14px 10px 8px; }
figcaption { padding: 0 6px 4px; font-weight: 600; font-size: 13px; font-variant-numeric: tabular-nums; }
figcaption span { font-weight: 400; font-size: 12px; margin-left: 6px; }
.faster { color: var(--faster); }
.slower { color: var(--slower); }
svg .roof { fill: none; stroke: var(--ink); stroke-width: 1.6; }
svg .roof-name { fill: var(--ink); font-weight: 500; }
.dots circle, .legend i { fill: color-mix(in oklab, var(--many) var(--mix), var(--few));
  background: color-mix(in oklab, var(--many) var(--mix), var(--few)); }
.dots circle { stroke: var(--card); stroke-width: 1; fill-opacity: 0.85; }
.dots circle:hover { stroke: var(--ink); stroke-width: 2; }
svg polyline { fill: none; stroke: var(--line); stroke-width: 2.4; stroke-linejoin: round; }
svg g circle { fill: var(--line); stroke: var(--card); stroke-width: 1; }
svg .rival polyline { stroke-width: 1.5; opacity: 0.9; }
svg .floor polyline { stroke-width: 1.4; stroke-dasharray: 2 4; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 8px 8px 2px; font-size: 12px; color: var(--soft); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 5px; }
.legend i.line { width: 18px; height: 3px; border-radius: 2px; vertical-align: middle; background: var(--line); }
.legend i.dotted { background: repeating-linear-gradient(90deg, var(--line) 0 3px, transparent 3px 6px); }
.grid-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 0 12px; }
.card { padding: 16px; margin-top: 10px; }
.split { display: grid; grid-template-columns: minmax(0, 1.5fr) minmax(240px, 1fr); gap: 28px; }
@media (max-width: 760px) { .split { grid-template-columns: 1fr; } }
.scroll { overflow-x: auto; }
.heat caption { text-align: left; color: var(--soft); font-size: 13px; padding-bottom: 6px; }
.heat caption b { color: var(--ink); }
.heat th { font-weight: 400; color: var(--soft); padding: 2px 8px; text-align: center; }
.heat th[scope="row"] { text-align: right; }
.heat td { text-align: center; padding: 7px 4px; border-radius: 4px; white-space: nowrap; }
.heat tbody td { background: color-mix(in oklab, var(--good) calc(var(--level, 0%) * 0.6), var(--card)); }
.heat td.none { color: var(--line); }
.heat small { margin-left: 5px; opacity: 0.8; }
.bar { display: grid; grid-template-columns: 150px 1fr 44px 58px; align-items: center; gap: 8px; font-size: 13px; padding: 2px 0; }
.bar i { height: 10px; border-radius: 5px; background: linear-gradient(90deg, var(--good) var(--level), var(--line) var(--level)); }
.bar b { text-align: right; font-variant-numeric: tabular-nums; }
.bar small { color: var(--soft); white-space: nowrap; }
.all { width: 100%; }
.all th { text-align: left; color: var(--soft); font-weight: 400; padding: 4px 12px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
.all td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
.all details td { color: var(--soft); }
.all td b { color: inherit; }
.all code { font-size: 11.5px; }
details { margin-top: 18px; }
summary { cursor: pointer; font-weight: 600; font-size: 13px; }
`

/** Shows the section of the format whose button was pressed. */
export const pageScript = `
for (const button of document.querySelectorAll('[data-tab]'))
  button.addEventListener('click', () => {
    for (const other of document.querySelectorAll('[data-tab]')) other.setAttribute('aria-pressed', String(other === button))
    for (const section of document.querySelectorAll('[data-format]'))
      section.hidden = section.dataset.format !== button.dataset.tab
  })
`
