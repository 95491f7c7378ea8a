import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { markRareWords } from '../../../bench/accuracy/rare-words.ts'

test('the rarest words become <unk>, by whole counts, and everything else stays', () => {
  const text = 'the cat , the dog ;\n 1999 the cat = Zürich =\n'
  // Seven words: dog and Zürich once, cat twice, the three times.
  assert.is(markRareWords(text, 0.3), 'the cat , the <unk> ;\n 1999 the cat = <unk> =\n')
  assert.is(markRareWords(text, 0.55), 'the <unk> , the <unk> ;\n 1999 the <unk> = <unk> =\n')
  assert.is(markRareWords(text, 0), text)
})

test.run()
