/** Whether standard error takes colours: a terminal, and nobody asked for none (https://no-color.org). */
const wanted = (): boolean =>
  process.env.FORCE_COLOR
    ? process.env.FORCE_COLOR !== '0'
    : process.stderr.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'

const red = (text: string) => `\x1b[31m${text}\x1b[39m`
const green = (text: string) => `\x1b[32m${text}\x1b[39m`
const bold = (text: string) => `\x1b[1m${text}\x1b[22m`

/** A rendered diagnostic in colours, where standard error takes them. */
export function colored(diagnostic: string): string {
  if (!wanted()) return diagnostic
  return diagnostic
    .split('\n')
    .map((line) =>
      line
        .replace(/^E\d{4}/, (code) => bold(red(code)))
        .replace(/^( +│ +)(\^+)$/, (_, margin, carets) => margin + red(carets))
        .replace(/^( +[├└] )(help|note|with|in)\b/, (_, margin, word) => margin + green(word)),
    )
    .join('\n')
}
