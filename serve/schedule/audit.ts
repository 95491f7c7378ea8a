import { DECODE_QUERIES } from '../../models/step.ts'
import type { PageCache } from './page-cache.ts'
import type { ScheduleRequest } from './request.ts'
import type { Scheduler } from './scheduler.ts'
import { compareRank, type ScheduledSequence } from './sequence.ts'

/** A scheduler's books do not add up. */
export class AuditError extends Error {
  override readonly name = 'AuditError'
}

function require(condition: boolean, fault: string): asserts condition {
  if (!condition) throw new AuditError(fault)
}

/**
 * Checks all that must hold between calls of a scheduler: every page is free, idle or held, and held exactly as often as
 * sequences have it; known prefixes have their pages and those before them; sequences have the pages that they need;
 * shares of steps are of a prompt, or few generated tokens.
 * Throws `AuditError`. Takes time in proportion to the pages.
 */
export function audit<R extends ScheduleRequest>(scheduler: Scheduler<R>): void {
  auditPages(scheduler.cache, scheduler.running)
  auditOrder(scheduler.running, 'running')
  auditOrder(scheduler.waiting, 'waiting')
  const { limits, cache, uncollected } = scheduler
  require(scheduler.running.length <= limits.sequences, 'more sequences run than may')
  for (const sequence of scheduler.running) auditRunning(sequence, cache)
  for (const { id, pages, nodes, scheduled } of scheduler.waiting)
    require(pages.length === 0 &&
      nodes.length === 0 &&
      scheduled === 0, `sequence ${id} waits and holds pages`)
  for (const sequence of [...scheduler.running, ...scheduler.waiting]) {
    const sampled = uncollected.filter(({ shares }) =>
      shares.some((x) => x.sequence === sequence && x.row >= 0),
    )
    require(sequence.pending === sampled.length, `sequence ${sequence.id} has lost a token that was sampled`)
  }
  for (const { step, tokens, shares, rows } of uncollected) {
    require(tokens <= limits.tokens && tokens > 0, `step ${step} has ${tokens} tokens`)
    for (const { sequence, first, count, isPrompt } of shares) {
      const end = sequence.request.prompt.length
      const isWhole = isPrompt ? first + count <= end : first >= end
      require(isWhole, `step ${step} mixes the prompt of sequence ${sequence.id} with what was generated`)
      require(isPrompt ||
        count <= DECODE_QUERIES, `step ${step} has too many generated tokens of ${sequence.id}`)
    }
    require(tokens === shares.reduce((sum, { count }) => sum + count, 0), `step ${step} has other tokens`)
    require(rows === shares.filter(({ row }) => row >= 0).length, `step ${step} has other rows`)
  }
}

function auditPages(cache: PageCache, running: readonly ScheduledSequence[]): void {
  const { free, idle } = cache.contents()
  const holders = new Int32Array(cache.pages)
  for (const { pages } of running) for (const page of pages) holders[page]!++
  const place = new Int32Array(cache.pages)
  for (const page of [...free, ...idle]) place[page]!++
  for (let page = 0; page < cache.pages; page++) {
    require(holders[page] ===
      cache.referencesOf(page), `page ${page} is held ${holders[page]} times, not as counted`)
    require(place[page] === (holders[page] === 0 ? 1 : 0), `page ${page} is lost or held and free at once`)
  }
  for (const page of free) require(cache.nodeOf(page) === undefined, `page ${page} is free and has a prefix`)
  const age = new Map(idle.map((page, index) => [page, index]))
  let nodes = 0
  for (let page = 0; page < cache.pages; page++) {
    const node = cache.nodeOf(page)
    if (node === undefined) {
      require(holders[page]! <= 1, `page ${page} is shared and its prefix is unknown`)
      require(!age.has(page), `page ${page} is idle and its prefix is unknown`)
      continue
    }
    nodes++
    require(node.page === page, `page ${page} and its prefix disagree`)
    const parent = node.parent!
    require(parent.children.get(node.key) === node, `the prefix of page ${page} cannot be found`)
    if (parent === cache.tree.root) continue
    require(cache.nodeOf(parent.page) === parent, `the prefix of page ${page} has lost what stands before it`)
    require(holders[parent.page]! >= holders[page]!, `page ${page} is held and what stands before it is not`)
    if (age.has(parent.page))
      require(age.get(parent.page)! > age.get(page)!, `page ${page} would outlive what stands before it`)
  }
  let found = 0
  const stack = [...cache.tree.root.children.values()]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    found++
    stack.push(...node.children.values())
  }
  require(found === nodes, `${found} prefixes are known and ${nodes} have pages`)
}

function auditOrder(sequences: readonly ScheduledSequence[], name: string): void {
  for (let i = 1; i < sequences.length; i++)
    require(compareRank(sequences[i - 1]!, sequences[i]!) < 0, `the sequences ${name} are out of order`)
}

function auditRunning(sequence: ScheduledSequence, cache: PageCache): void {
  const { id, pages, nodes, scheduled, length } = sequence
  require(scheduled <= length, `sequence ${id} has more tokens planned than it has`)
  require(scheduled <= pages.length * cache.pageTokens, `sequence ${id} lacks a page`)
  require(new Set(pages).size === pages.length, `sequence ${id} has a page twice`)
  require(sequence.generated + sequence.pending <=
    sequence.request.maxTokens, `sequence ${id} generates too much`)
  nodes.forEach((node, index) => {
    require(node.page === pages[index], `sequence ${id} has another page ${index} than its prefix`)
    require(node.parent ===
      (nodes[index - 1] ?? cache.tree.root), `sequence ${id} has a broken chain of prefixes`)
  })
  for (const page of pages.slice(nodes.length))
    require(cache.referencesOf(page) === 1, `sequence ${id} would write into page ${page}, which others hold`)
  require(nodes.length * cache.pageTokens <=
    scheduled, `sequence ${id} has a prefix known of which it has not planned all`)
}
