import { suite } from 'uvu'
import { relaxLastBarrier } from '../../../../codegen/ir/passes/relax-last-barrier.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'

const test = suite('relaxLastBarrier')

const start = `%2: u32 = move 64:u32
%3: u32 = peerAddress %2, 1:u32
clusterBarrier`
const read = `${start}
%4: f32 = load space=cluster %3
store space=global %0, %4`

test('the barrier with which a kernel ends orders nothing, and those before it do', () => {
  checkPass(relaxLastBarrier, `${read}\nclusterBarrier`, `${read}\nclusterBarrier relaxed=true`)
  checkPass(
    relaxLastBarrier,
    `${read}\nclusterBarrier\nreturn`,
    `${read}\nclusterBarrier relaxed=true\nreturn`,
  )
})

test('a barrier behind which something is read stays, and so does one under a condition', () => {
  checkUnchanged(relaxLastBarrier, read)
  checkUnchanged(relaxLastBarrier, `${read}\nclusterBarrier\n%5: f32 = load space=shared %2`)
})

test('a store or an arrival that may still be on its way to another CTA keeps the barrier as it is', () => {
  for (const write of ['store space=cluster %3, 1.5:f32', 'arrive space=cluster %3'])
    checkUnchanged(relaxLastBarrier, `${start}\n${write}\nclusterBarrier`)
  const copy = (mask: string) =>
    `%5: u64 = cachePolicy evict=first\ncopyTensor %2, %2, %5, 0:i32, 0:i32${mask}`
  checkUnchanged(relaxLastBarrier, `${start}\n${copy(', 3:u32')}\nclusterBarrier`)
  checkPass(
    relaxLastBarrier,
    `${start}\n${copy('')}\nclusterBarrier`,
    `${start}\n${copy('')}\nclusterBarrier relaxed=true`,
  )
})

test.run()
