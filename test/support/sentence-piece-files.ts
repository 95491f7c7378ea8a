import { rng } from './rng.ts'
import { type TrainedBpe, trainBpe } from './train-bpe.ts'

const special = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
})

export interface SentencePieceOptions {
  /** Merges may reach from one word into the next. */
  readonly crossWords?: boolean
  readonly merges?: number
}

/** Words of syllables, short ones more often, with marks, digits and runs of spaces. */
function madeUpText(length: number): string {
  const { integer, uniform } = rng(91)
  const syllables = [
    'the',
    'an',
    'in',
    'er',
    'on',
    're',
    'st',
    'en',
    'at',
    'ing',
    'o',
    'a',
    'ed',
    'th',
    'Qu',
    'fox',
    'll',
  ]
  const seldom = ['  ', '    ', ', ', '(', ') ', '1', '20', ' = ', "'s ", '-']
  let text = ''
  while (text.length < length) {
    const count = 1 + Math.floor(3 * uniform() ** 2)
    for (let i = 0; i < count; i++) text += syllables[Math.floor(syllables.length * uniform() ** 2)]
    text += uniform() < 0.2 ? seldom[integer(0, seldom.length - 1)] : ' '
  }
  return text
}

const learnt = new Map<string, TrainedBpe>()

/** Learns from made-up words and a few in other scripts, once for each choice. */
function learn({ crossWords = false, merges = 400 }: SentencePieceOptions): TrainedBpe {
  const key = `${crossWords} ${merges}`
  const known = learnt.get(key)
  if (known) return known
  const scripts = 'Жизнь Жизнь naïve naïve 中文 中文 中文字 한국 한국 ☝🏽 😀😀 😀😀 '.repeat(3)
  const spelled = (madeUpText(60_000) + scripts).replaceAll(' ', '▁')
  const pieces = spelled.match(crossWords ? /.{1,40}/gu : /▁+[^▁]*|[^▁]+/gu)!
  // Digits stay single, as in these models.
  const trained = trainBpe(
    pieces.flatMap((piece) => piece.split(/(\d)/)).filter((piece) => piece !== ''),
    merges,
  )
  learnt.set(key, trained)
  return trained
}

/**
 * The `tokenizer.json` of a SentencePiece BPE with byte fallback, laid out as the files of
 * Llama 2 are: `<unk> <s> </s>`, 256 bytes, then entries; a space is put before each text by the normalizer.
 */
export function llama2File(options: SentencePieceOptions = {}) {
  const trained = learn(options)
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const entries = ['<unk>', '<s>', '</s>', ...bytes, ...trained.entries]
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(0, '<unk>'), special(1, '<s>'), special(2, '</s>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    } as unknown,
    pre_tokenizer: null as unknown,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    } as unknown,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(entries.map((entry, id) => [entry, id])) as Record<string, number>,
      merges: trained.merges.map((pair) => pair.join(' ')),
    },
  }
}

/** The same in the newer layout of Mistral's files: the pre-tokenizer puts a space before the first text alone. */
export function mistralFile(options?: SentencePieceOptions) {
  return {
    ...llama2File(options),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false } as unknown,
  }
}
