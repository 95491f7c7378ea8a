const prefix = 'quattuor:'
// A value of a label may have any character, quoted ones after a backslash.
const line = /^([A-Za-z_:][\w:]*)(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)/

/**
 * The finite values of Prometheus text, by the names of their metrics.
 *
 * @param {string} text
 * @returns {Map<string, number[]>}
 */
export function parseMetrics(text) {
  const values = new Map()
  for (const row of text.split('\n')) {
    const [, name, value] = line.exec(row) ?? []
    if (name === undefined || !Number.isFinite(Number(value))) continue
    if (!values.has(name)) values.set(name, [])
    values.get(name).push(Number(value))
  }
  return values
}

/**
 * What the charts need of one answer of `/metrics`, over all engines.
 *
 * @param {string} text
 * @param {number} milliseconds when it was read
 */
export function readSample(text, milliseconds) {
  const values = parseMetrics(text)
  const of = (name) => values.get(prefix + name) ?? []
  const sum = (name) => of(name).reduce((total, value) => total + value, 0)
  const timed = (name) => ({ seconds: sum(`${name}_sum`), count: sum(`${name}_count`) })
  return {
    milliseconds,
    generated: sum('generation_tokens_total'),
    running: sum('num_requests_running'),
    waiting: sum('num_requests_waiting'),
    cache: sum('kv_cache_usage_perc') / Math.max(1, of('kv_cache_usage_perc').length),
    firstToken: timed('time_to_first_token_seconds'),
    interToken: timed('inter_token_latency_seconds'),
  }
}

/**
 * What happened between two samples: tokens a second, mean milliseconds, sequences, percent. `null` where nothing was
 * counted, and for what is counted from the start when the server was started anew in between.
 */
export function pointBetween(before, after) {
  const mean = (name) => {
    const count = after[name].count - before[name].count
    return count > 0 ? (1000 * (after[name].seconds - before[name].seconds)) / count : null
  }
  const seconds = (after.milliseconds - before.milliseconds) / 1000
  const generated = after.generated - before.generated
  return {
    throughput: generated >= 0 && seconds > 0 ? generated / seconds : null,
    firstToken: mean('firstToken'),
    interToken: mean('interToken'),
    running: after.running,
    waiting: after.waiting,
    cache: 100 * after.cache,
  }
}
