/** Tunes the made-up device in this process, for a test that kills it: `run-fake-tuning.ts FILE`. */
import { Measurer } from '../../runtime/tune/measurer.ts'
import { RecordFile } from '../../runtime/tune/record-file.ts'
import { tune } from '../../runtime/tune/tune.ts'
import { cell, fakeCompiler, fakeFacts, fakeTarget, fakeTask } from './fake-tuning.ts'

const bench = new URL('./fake-bench.ts', import.meta.url)
const measurer = new Measurer({ bench, problem: { microseconds: { a: 10, b: 12 }, openMs: 300 } })
const file = new RecordFile(process.argv[2]!)
file.begin(fakeFacts)
const cells = Array.from({ length: 40 }, (_, i) => cell(i + 1))
await tune(fakeTask(['a', 'b'], cells), {
  ...{ target: fakeTarget, file, compiler: fakeCompiler(), measurer },
})
await measurer.close()
