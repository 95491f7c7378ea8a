/** One example of a document: a `ts` block and the `text` block after it, if that follows at once. */
export interface Example {
  readonly code: string
  readonly shown: string | undefined
  readonly line: number
}

/** The `ts` blocks of a Markdown text, in order. */
export function examplesOf(markdown: string): Example[] {
  const block = /```ts\n([\s\S]*?)```\n(?:\n?```text\n([\s\S]*?)```\n)?/g
  return [...markdown.matchAll(block)].map((match) => ({
    code: match[1]!,
    shown: match[2]?.trimEnd(),
    line: markdown.slice(0, match.index).split('\n').length,
  }))
}

/**
 * Runs the examples as one program (plain JavaScript after import lines) and returns what each printed with
 * `console.log`.
 *
 * @param scope the names that the examples import.
 */
export function runExamples(
  examples: readonly Example[],
  scope: Readonly<Record<string, unknown>>,
): string[] {
  const printed = examples.map((): string[] => [])
  const body = examples.map(({ code }, i) => `example(${i})\n${code.replace(/^import .*$/gm, '')}`).join('\n')
  let current = 0
  const show = (...values: unknown[]) => printed[current]!.push(values.map(String).join(' '))
  const program = new Function('example', 'console', ...Object.keys(scope), `'use strict'\n{\n${body}\n}`)
  program((i: number) => (current = i), { log: show }, ...Object.values(scope))
  return printed.map((lines) => lines.join('\n'))
}
