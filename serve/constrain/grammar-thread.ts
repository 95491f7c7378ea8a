import { parentPort, workerData } from 'node:worker_threads'
import { byteCharacters } from '../text/byte-level.ts'
import { loadTokenizer } from '../text/tokenizer.ts'
import { type ConstraintSpec, grammarOf, hasCalls } from './constraint-spec.ts'
import { ConstraintError } from './error.ts'
import type { StringCount } from './grammar.ts'
import type { GrammarReply, GrammarTask, GrammarThreadData } from './grammar-threads.ts'
import { printGrammar } from './print-grammar.ts'
import { type FollowedLengths, StringLengths } from './string-lengths.ts'
import { type Compiled, loadXGrammar, type Matcher } from './xgrammar.ts'

/**
 * A thread that follows grammars. It says in `working` whom it works for, so that whoever gives it up knows whose fault that
 * is. Where XGrammar fails the thread ends, since it cannot be relied on any more.
 */

const longestGrammar = 2 ** 20
const mostCompiled = 64

const data = workerData as GrammarThreadData
const port = parentPort!
const working = new Int32Array(data.working)
const tokenizer = loadTokenizer(data.folder)
/** XGrammar wants a token for the end; a model that has none gets one that it cannot draw. */
const endIds = data.endIds.length > 0 ? [...data.endIds] : [data.vocabSize]
const entries = data.endIds.length > 0 ? data.vocabSize : data.vocabSize + 1
const maskWords = Math.ceil(data.vocabSize / 32)
const { xgrammar, reason } = await loadXGrammar()
const info = await xgrammar.TokenizerInfo.createTokenizerInfo(
  spelledVocabulary(),
  'byte_level',
  false,
  entries,
  endIds,
)
const compiler = await xgrammar.GrammarCompiler.createGrammarCompiler(info, false)
/** By key, the least recently used first. */
const compiled = new Map<string, Grammar>()
interface Followed {
  readonly matcher: Matcher
  /** Whether special tokens may open calls of tools. */
  readonly calls: boolean
  /** Where its strings are counted. */
  readonly lengths: FollowedLengths | undefined
  count: number
}

interface Grammar {
  readonly compiled: Compiled
  readonly counts: readonly StringCount[]
}

/** Constraints, and how many tokens they have taken. */
const followed = new Map<number, Followed>()
const lengths = new StringLengths(data.vocabSize, textBytesOf)
const endBits = new Map<number, number>()
for (const id of endIds) endBits.set(id >> 5, (endBits.get(id >> 5) ?? 0) | (1 << (id & 31)))

/** Bytes of a token in a text: none of special ones, but for those that are shown. */
function textBytesOf(id: number): Uint8Array {
  return tokenizer.isSpecial(id) && !data.shownIds.includes(id) ? new Uint8Array(0) : tokenizer.bytesOf(id)
}

/** Tokens as XGrammar knows them, byte for byte. */
function spelledVocabulary(): string[] {
  return Array.from({ length: entries }, (_, id) =>
    Array.from(textBytesOf(id), (byte) => byteCharacters[byte]!).join(''),
  )
}

async function compile(key: string, spec: ConstraintSpec): Promise<Grammar> {
  let found = compiled.get(key)
  if (found === undefined) {
    const { text, counts } = grammarText(spec)
    const grammar = await xgrammar.Grammar.fromEBNF(text)
    found = { compiled: await compiler.compileGrammar(grammar), counts }
    grammar.dispose()
  }
  compiled.delete(key)
  compiled.set(key, found)
  const [oldest] = compiled.keys()
  if (compiled.size > mostCompiled) {
    compiled.get(oldest!)!.compiled.dispose()
    compiled.delete(oldest!)
  }
  return found
}

function grammarText(spec: ConstraintSpec): { text: string; counts: readonly StringCount[] } {
  try {
    const grammar = grammarOf(spec)
    const text = printGrammar(grammar)
    if (text.length <= longestGrammar) return { text, counts: grammar.counts ?? [] }
  } catch (error) {
    throw error instanceof RangeError ? new ConstraintError('the schema is nested too deeply') : error
  }
  throw new ConstraintError('the schema or expression is too large to be followed; make it smaller')
}

async function open({
  id,
  key,
  spec,
  tokens,
}: Extract<GrammarTask, { kind: 'open' }>): Promise<GrammarReply> {
  const parsed = JSON.parse(spec) as ConstraintSpec
  const grammar = await compile(key, parsed)
  const matcher = await xgrammar.GrammarMatcher.createGrammarMatcher(grammar.compiled, endIds)
  const counted = grammar.counts.length > 0 ? lengths.follow(grammar.counts) : undefined
  followed.set(id, { matcher, calls: hasCalls(parsed), lengths: counted, count: 0 })
  for (const token of tokens) take(id, token)
  return stateOf(id)
}

function take(id: number, token: number): void {
  const one = followed.get(id)!
  if (!one.matcher.acceptToken(token)) throw new ConstraintError(`token ${token} came, which may not`)
  one.lengths?.take(token, proberOf(one.matcher))
  one.count++
}

const proberOf = (matcher: Matcher) => ({
  accepts: (text: string) => {
    const accepted = matcher._acceptString(text)
    if (accepted) matcher.rollBack(1)
    return accepted
  },
})

/** Which tokens may come next; none when only the end may. */
async function stateOf(id: number): Promise<GrammarReply> {
  const { matcher, calls, lengths: counted, count } = followed.get(id)!
  const mask = new Uint32Array((await matcher.getNextTokenBitmask()).buffer)
  counted?.restrict(mask)
  if (!calls) for (const token of data.shownIds) mask[token >> 5]! &= ~(1 << (token & 31))
  const goesOn = mask.some((word, i) => (word & ~(endBits.get(i) ?? 0)) !== 0)
  if (goesOn) return { id, count, mask: mask.slice(0, maskWords) }
  if (mask.every((word) => word === 0))
    throw new ConstraintError('the tokens of the model cannot write what the text was to be')
  return { id, count, mask: undefined }
}

/** What fails for a reason of ours concerns one constraint; anything else is a failure of XGrammar. */
async function attempt(id: number, run: () => Promise<GrammarReply>): Promise<GrammarReply> {
  working[0] = id
  let reply: GrammarReply
  try {
    reply = await run()
  } catch (error) {
    if (!(error instanceof ConstraintError))
      throw new ConstraintError(`the constraint cannot be followed: ${reason()}`)
    reply = { id, fault: error.message }
  }
  working[0] = -1
  return reply
}

async function work(task: GrammarTask): Promise<void> {
  const replies: GrammarReply[] = []
  if (task.kind === 'open') replies.push(await attempt(task.id, () => open(task)))
  else if (task.kind === 'accept')
    for (const { id, token } of task.tokens)
      replies.push(
        await attempt(id, async () => {
          take(id, token)
          return stateOf(id)
        }),
      )
  else {
    followed.get(task.id)?.matcher.dispose()
    followed.delete(task.id)
    return
  }
  port.postMessage(
    replies,
    replies.flatMap((reply) => ('mask' in reply && reply.mask ? [reply.mask.buffer as ArrayBuffer] : [])),
  )
}

/** One task after the other, however long their parts wait. */
let last = Promise.resolve()
port.on('message', (task: GrammarTask) => {
  last = last.then(() => work(task))
})
port.postMessage([])
