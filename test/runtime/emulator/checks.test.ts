import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { Checker } from '../../../runtime/emulator/checks/checker.ts'
import type { CheckImports, LaunchReport, Site } from '../../../runtime/emulator/checks/interface.ts'
import { WebAssembly } from '../../../runtime/emulator/wasm/host.ts'
import { ModuleBuilder } from '../../../runtime/emulator/wasm/module.ts'
import { rng } from '../../support/rng.ts'

const sites: Site[] = [
  { opcode: 'ld.b32', line: 10, location: 'kernel.ts:5' },
  { opcode: 'st.b32', line: 11, location: 'kernel.ts:6' },
  { opcode: 'atom.add.u32', line: 12, location: undefined },
  { opcode: 'cp.async.cg.shared.global', line: 13, location: 'kernel.ts:8' },
]
const [load, store, atomic, copy] = [0, 1, 2, 3]
const base = 1 << 20

/** Two allocations: [base, base + 4096) initialised, [base + 8192, base + 8192 + 4096) not. */
function checker(): Checker {
  const checks = new Checker()
  checks.allocated(base, 4096)
  checks.allocated(base + 8192, 4096)
  checks.initialised(base, 4096)
  return checks
}

function launch(
  body: (imports: CheckImports, checks: Checker) => void,
  options: { threads?: number; ctas?: number; checks?: Checker } = {},
): LaunchReport {
  const { threads = 128, ctas = 1, checks = checker() } = options
  checks.beginLaunch({
    kernel: 'k',
    sites,
    grid: [ctas, 1, 1],
    block: [threads, 1, 1],
    cluster: 1,
    overlaps: false,
    sharedBytes: 16384,
  })
  checks.beginCluster(0, 0)
  body(checks.imports, checks)
  checks.endCluster()
  return checks.endLaunch()
}
const kinds = (report: LaunchReport) => report.findings.map(({ kind }) => kind)

function fault(body: (imports: CheckImports, checks: Checker) => void): DeviceError {
  try {
    launch(body)
  } catch (error) {
    assert.instance(error, DeviceError)
    return error as DeviceError
  }
  return assert.unreachable('no fault') as never
}

test('an access outside every allocation leaves the kernel and says how far off it is', () => {
  const past = fault(({ loadGlobal }) => loadGlobal(base + 4096 + 8, 4, 37, load))
  assert.is(past.code, 'EMULATOR_OUT_OF_BOUNDS')
  assert.is(past.location, 'kernel.ts:5')
  assert.is(past.kernel, 'k')
  assert.match(
    past.message,
    /Thread 37 of CTA 0 reads 4 bytes of global memory at 0x101008 \(ld\.b32, kernel\.ts:5\)/,
  )
  assert.match(past.message, /8 bytes past the end of an allocation of 4096 bytes/)
  assert.match(fault(({ storeGlobal }) => storeGlobal(base - 4, 4, 0, store)).message, /4 bytes before/)
  const across = fault(({ loadGlobal }) => loadGlobal(base + 4088, 16, 0, load))
  assert.match(across.message, /across the end/)
  const wild = fault(({ storeGlobal }) => storeGlobal(2 ** 52, 4, 0, store))
  assert.match(wild.message, /0x10000000000000/)
})

test('a good access at a site does not hide a bad one after it', () => {
  const error = fault(({ loadGlobal }) => {
    loadGlobal(base, 4, 0, load)
    loadGlobal(base + 4096, 4, 1, load)
  })
  assert.is(error.code, 'EMULATOR_OUT_OF_BOUNDS')
})

test('shared accesses stay within the window of the CTA', () => {
  launch(({ storeShared }) => storeShared(16380, 4, 0, store))
  assert.match(
    fault(({ storeShared }) => storeShared(16384, 4, 0, store)).message,
    /outside the CTA's 16384 bytes/,
  )
  assert.match(fault(({ loadShared }) => loadShared(-4, 4, 0, load)).message, /0xfffffffc/)
})

test('freed memory is told from memory that never was', () => {
  const error = fault(({ loadGlobal }, checks) => {
    loadGlobal(base, 4, 0, load)
    checks.freed(base)
    loadGlobal(base, 4, 0, load)
  })
  assert.is(error.code, 'EMULATOR_USE_AFTER_FREE')
})

test('vector accesses need the alignment of the whole vector', () => {
  launch(({ loadGlobal }) => loadGlobal(base + 16, 16, 0, load))
  const error = fault(({ loadGlobal }) => loadGlobal(base + 8, 16, 0, load))
  assert.is(error.code, 'EMULATOR_MISALIGNED')
  assert.match(error.message, /not a multiple of 16/)
})

test('reading bytes that nothing wrote is found, per byte', () => {
  const fresh = base + 8192
  const report = launch(({ loadGlobal, storeGlobal }) => {
    storeGlobal(fresh, 2, 0, store)
    loadGlobal(fresh, 2, 0, load)
  })
  assert.equal(kinds(report), [])
  const partly = launch(({ loadGlobal, storeGlobal }) => {
    storeGlobal(fresh, 2, 0, store)
    loadGlobal(fresh, 4, 0, load)
    loadGlobal(fresh + 4, 4, 0, load)
  })
  assert.equal(kinds(partly), ['uninitialised'])
  assert.is(partly.findings[0]!.count, 2)
  assert.equal(kinds(launch(({ loadShared }) => loadShared(0, 4, 0, load))), ['uninitialised'])
})

test('host writes initialise, host copies carry what is uninitialised along, a new allocation forgets', () => {
  const checks = checker()
  const fresh = base + 8192
  checks.initialised(fresh + 16, 7)
  checks.copied(base, fresh, 32)
  const read = (address: number, bytes: number) =>
    kinds(launch(({ loadGlobal }) => loadGlobal(address, bytes, 0, load), { checks })).length
  assert.equal([read(base, 4), read(base + 16, 4), read(base + 20, 2), read(base + 22, 2)], [1, 0, 0, 1])
  checks.copied(base + 33, base + 17, 3)
  assert.equal([read(base + 33, 1), read(base + 36, 4)], [0, 0])
  checks.freed(base)
  checks.allocated(base, 4096)
  assert.is(read(base + 64, 4), 1)
})

test('warps that meet no barrier race; those that do not', () => {
  const racing = launch(({ storeShared, loadShared }) => {
    storeShared(64, 4, 33, store)
    loadShared(64, 4, 5, load)
  })
  assert.equal(kinds(racing), ['race'])
  assert.match(
    racing.findings[0]!.message,
    /^Thread 5 of CTA 0 reads 4 bytes of shared memory at 0x40 \(ld\.b32, kernel\.ts:5\), which thread 33 writes \(st\.b32, kernel\.ts:6\) with no barrier between them\.$/,
  )
  assert.is(racing.findings[0]!.otherSite, sites[store!])
  const ordered = launch(({ storeShared, loadShared }, checks) => {
    storeShared(64, 4, 33, store)
    checks.barrier(0)
    loadShared(64, 4, 5, load)
  })
  assert.equal(kinds(ordered), [])
})

test('a write after reads needs a barrier too, whichever thread reads last', () => {
  for (const [first, second] of [
    [7, 40],
    [40, 7],
    [70, 40],
  ] as const) {
    const report = launch(({ storeShared, loadShared }, checks) => {
      storeShared(0, 4, 7, store)
      checks.barrier(0)
      loadShared(0, 4, first, load)
      loadShared(0, 4, second, load)
      storeShared(0, 4, 7, store)
    })
    assert.equal(kinds(report), ['race'])
    assert.match(report.findings[0]!.message, /writes 4 bytes.*reads/)
  }
})

test('lanes of one warp race until bar.warp.sync', () => {
  const exchange = (sync: boolean) =>
    launch(({ storeShared, loadShared, warpSync }) => {
      for (let lane = 0; lane < 32; lane++) storeShared(lane * 4, 4, lane, store)
      if (sync) warpSync(0)
      for (let lane = 0; lane < 32; lane++) loadShared((31 - lane) * 4, 4, lane, load)
    })
  assert.match(exchange(false).findings[0]!.message, /with no bar\.warp\.sync between them/)
  assert.equal(kinds(exchange(true)), [])
  const own = launch(({ storeShared, loadShared }) => {
    storeShared(0, 4, 9, store)
    loadShared(0, 4, 9, load)
    storeShared(0, 4, 9, store)
  })
  assert.equal(kinds(own), [])
})

test('neighbouring bytes of a word do not race, the same byte does', () => {
  const report = launch(({ storeShared }) => {
    for (let thread = 0; thread < 128; thread++) storeShared(thread, 1, thread, store)
  })
  assert.equal(kinds(report), [])
  const halves = launch(({ storeShared, loadShared }, checks) => {
    storeShared(0, 2, 0, store)
    storeShared(2, 2, 32, store)
    loadShared(2, 1, 0, load)
    checks.barrier(0)
    loadShared(0, 4, 64, load)
  })
  assert.equal(kinds(halves), ['race'])
  assert.is(halves.findings[0]!.count, 1)
  const wordThenByte = launch(({ storeShared }) => {
    storeShared(0, 16, 0, store)
    storeShared(13, 1, 64, store)
  })
  assert.equal(kinds(wordThenByte), ['race'])
})

test('named barriers order those that arrive before those that pass', () => {
  const report = launch(({ storeShared, loadShared }, checks) => {
    storeShared(0, 4, 0, store)
    storeShared(4, 4, 64, store)
    checks.arrive(1, 0, 0)
    checks.arrive(1, 0, 1)
    checks.pass(1, 0, 1)
    loadShared(0, 4, 32, load)
    loadShared(4, 4, 33, load)
  })
  assert.is(report.findings.length, 1)
  assert.match(report.findings[0]!.message, /Thread 33 .* which thread 64 writes/)
})

test('what a warp does after it arrived is not covered by the barrier', () => {
  const report = launch(({ storeShared, loadShared }, checks) => {
    checks.arrive(1, 0, 0)
    storeShared(0, 4, 0, store)
    checks.pass(1, 0, 1)
    loadShared(0, 4, 32, load)
  })
  assert.equal(kinds(report), ['race'])
})

test('atomics do not race with each other, but with plain accesses', () => {
  const together = launch(({ atomicShared, storeShared }, checks) => {
    storeShared(0, 4, 0, store)
    checks.barrier(0)
    for (let thread = 0; thread < 128; thread++) atomicShared(0, 4, thread, atomic)
  })
  assert.equal(kinds(together), [])
  const mixed = launch(({ atomicShared, storeShared, loadShared }, checks) => {
    storeShared(0, 4, 0, store)
    checks.barrier(0)
    atomicShared(0, 4, 40, atomic)
    loadShared(0, 4, 80, load)
  })
  assert.equal(kinds(mixed), ['race'])
  assert.match(mixed.findings[0]!.message, /thread 40 changes atomically \(atom\.add\.u32, PTX line 12\)/)
})

test('CTAs of a launch are not ordered, launches are', () => {
  const checks = checker()
  const twoCtas = (second: number) =>
    launch(
      ({ storeGlobal }) => {
        storeGlobal(base, 4, 0, store)
        checks.endCluster()
        checks.beginCluster(1, 0)
        storeGlobal(base + second, 4, 0, store)
      },
      { checks, ctas: 2 },
    )
  const racing = twoCtas(0)
  assert.match(
    racing.findings[0]!.message,
    /which thread 0 of CTA 0 writes .* with no order between the two CTAs/,
  )
  assert.equal(kinds(twoCtas(4)), [])
  const later = launch(({ loadGlobal }) => loadGlobal(base, 4, 77, load), { checks })
  assert.equal(kinds(later), [])
})

test('shared memory starts uninitialised and without history in each CTA', () => {
  const report = launch(({ storeShared, loadShared }, checks) => {
    storeShared(0, 4, 40, store)
    checks.endCluster()
    checks.beginCluster(1, 0)
    storeShared(0, 4, 80, store)
    loadShared(4, 4, 80, load)
  })
  assert.equal(kinds(report), ['uninitialised'])
})

test('fence, atomic, atomic, fence orders CTAs; without either fence it does not', () => {
  const counter = base + 1024
  const lastCtaReads = (release: boolean, acquire: boolean) =>
    launch(
      ({ storeGlobal, atomicGlobal, fenceGlobal, loadGlobal }, checks) => {
        for (let thread = 0; thread < 64; thread++) storeGlobal(base + thread * 4, 4, thread, store)
        checks.barrier(0)
        if (release) fenceGlobal(0)
        atomicGlobal(counter, 4, 0, atomic)
        checks.endCluster()
        checks.beginCluster(1, 0)
        atomicGlobal(counter, 4, 0, atomic)
        if (acquire) fenceGlobal(0)
        checks.barrier(0)
        for (let thread = 0; thread < 64; thread++) loadGlobal(base + thread * 4, 4, thread, load)
      },
      { ctas: 2 },
    )
  assert.equal(kinds(lastCtaReads(true, true)), [])
  assert.equal(kinds(lastCtaReads(false, true)), ['race'])
  assert.equal(kinds(lastCtaReads(true, false)), ['race'])
})

test('an order between CTAs passes through a third', () => {
  const [first, second] = [base + 1024, base + 2048]
  const report = launch(
    ({ storeGlobal, atomicGlobal, fenceGlobal, loadGlobal }, checks) => {
      storeGlobal(base, 4, 0, store)
      fenceGlobal(0)
      atomicGlobal(first, 4, 0, atomic)
      checks.beginCluster(1, 0)
      atomicGlobal(first, 4, 0, atomic)
      fenceGlobal(0)
      atomicGlobal(second, 4, 0, atomic)
      checks.beginCluster(2, 0)
      atomicGlobal(second, 4, 0, atomic)
      fenceGlobal(0)
      loadGlobal(base, 4, 0, load)
    },
    { ctas: 3 },
  )
  assert.equal(kinds(report), [])
})

test('bytes of an asynchronous copy may be read past the wait and a barrier, not before', () => {
  const run = (steps: (imports: CheckImports, checks: Checker) => void) =>
    kinds(
      launch((imports, checks) => {
        imports.asyncCopy(0, base, 16, 16, 0, copy)
        imports.commitGroup(0)
        steps(imports, checks)
      }),
    )
  assert.equal(
    run(({ loadShared }) => loadShared(4, 4, 0, load)),
    ['pending-copy'],
  )
  assert.equal(
    run(({ waitGroup, loadShared }) => {
      waitGroup(0, 0)
      loadShared(4, 4, 0, load)
    }),
    [],
  )
  assert.equal(
    run(({ waitGroup, loadShared }) => {
      waitGroup(0, 0)
      loadShared(4, 4, 64, load)
    }),
    ['race'],
  )
  assert.equal(
    run(({ waitGroup, loadShared }, checks) => {
      waitGroup(0, 0)
      checks.barrier(0)
      loadShared(4, 4, 64, load)
    }),
    [],
  )
  assert.equal(
    run(({ asyncCopy, commitGroup, waitGroup, loadShared }) => {
      asyncCopy(16, base + 16, 16, 16, 0, copy)
      commitGroup(0)
      waitGroup(0, 1)
      loadShared(0, 4, 0, load)
      loadShared(16, 4, 0, load)
    }),
    ['pending-copy'],
  )
})

test('a copy over a stage that another warp still reads races', () => {
  const report = launch(({ asyncCopy, storeShared, loadShared }, checks) => {
    storeShared(0, 16, 0, store)
    checks.barrier(0)
    loadShared(0, 16, 64, load)
    asyncCopy(0, base, 16, 16, 0, copy)
  })
  assert.equal(kinds(report), ['race'])
})

test('a copy reads only its source bytes, and those are checked', () => {
  const fresh = base + 8192
  assert.equal(kinds(launch(({ asyncCopy }) => asyncCopy(0, fresh, 16, 0, 0, copy))), [])
  assert.equal(kinds(launch(({ asyncCopy }) => asyncCopy(0, fresh, 16, 5, 0, copy))), ['uninitialised'])
  launch(({ asyncCopy }) => asyncCopy(0, base + 4080, 16, 16, 0, copy))
  assert.throws(
    () => launch(({ asyncCopy }) => asyncCopy(0, base + 4096, 16, 4, 0, copy)),
    /global memory.*past the end/,
  )
  assert.throws(
    () => launch(({ asyncCopy }) => asyncCopy(8, base, 16, 16, 0, copy)),
    /shared.*multiple of 16/,
  )
})

test('sectors count what a request touches against what it needs', () => {
  const counters = (address: (lane: number) => number, bytes: number) =>
    launch(({ loadGlobal }) => {
      for (let lane = 0; lane < 32; lane++) loadGlobal(base + address(lane), bytes, lane, load)
    }).memory[0]!
  const cases: [(lane: number) => number, number, number, number][] = [
    [(lane) => lane * 4, 4, 4, 4],
    [(lane) => (31 - lane) * 4, 4, 4, 4],
    [(lane) => lane * 16, 16, 16, 16],
    [(lane) => lane * 64, 4, 32, 4],
    [() => 0, 4, 1, 1],
    [(lane) => 16 + lane * 4, 4, 5, 4],
    [(lane) => lane, 1, 1, 1],
  ]
  for (const [address, bytes, sectors, ideal] of cases) {
    const { requests, sectors: touched, idealSectors } = counters(address, bytes)
    assert.equal([requests, touched, idealSectors], [1, sectors, ideal], `${address} ${bytes}`)
  }
})

test('bank conflicts equal a plain count over 32 banks', () => {
  const counters = (address: (lane: number) => number, bytes: number) => {
    const { wavefronts, bankConflicts } = launch(({ storeShared }) => {
      for (let lane = 0; lane < 32; lane++) storeShared(address(lane), bytes, lane, store)
    }).memory[0]!
    return [wavefronts, bankConflicts]
  }
  assert.equal(
    counters((lane) => lane * 4, 4),
    [1, 0],
  )
  assert.equal(
    counters((lane) => lane * 8, 4),
    [2, 1],
  )
  assert.equal(
    counters((lane) => lane * 128, 4),
    [32, 31],
  )
  assert.equal(
    counters(() => 64, 4),
    [1, 0],
  )
  assert.equal(
    counters((lane) => lane * 2, 2),
    [1, 0],
  )
  assert.equal(
    counters((lane) => lane * 8, 8),
    [2, 0],
  )
  assert.equal(
    counters((lane) => lane * 16, 16),
    [4, 0],
  )
  // Rows of 128 bytes read by column in 16-byte pieces: eight lanes of a quarter hit the same four banks.
  assert.equal(
    counters((lane) => lane * 128, 16),
    [32, 28],
  )
  const random = rng(900)
  for (let trial = 0; trial < 30; trial++) {
    const addresses = Array.from({ length: 32 }, () => random.integer(0, 255) * 4)
    const wordsOfBank = Array.from({ length: 32 }, () => new Set<number>())
    for (const address of addresses) wordsOfBank[(address >> 2) % 32]!.add(address >> 2)
    const want = Math.max(...wordsOfBank.map((words) => words.size))
    assert.equal(
      counters((lane) => addresses[lane]!, 4),
      [want, want - 1],
    )
  }
})

test('requests are matched by turn, and kept apart by warps and regions', () => {
  const report = launch(({ storeShared, endRegion }) => {
    for (let warp = 0; warp < 2; warp++)
      for (let lane = 0; lane < 32; lane++)
        for (let turn = 0; turn < 3; turn++)
          // The third turn is left out by half of the lanes.
          if (turn < 2 || lane % 2)
            storeShared((warp * 96 + turn * 32 + lane) * 4, 4, warp * 32 + lane, store)
    endRegion()
    for (let lane = 0; lane < 32; lane++) storeShared((200 + lane) * 4, 4, lane, store)
    endRegion()
    endRegion()
  })
  const { requests, wavefronts, bankConflicts } = report.memory[0]!
  assert.equal([requests, wavefronts, bankConflicts], [7, 7, 0])
})

test('ldmatrix rows count as quarters of a warp', () => {
  const conflicts = (stride: number) =>
    launch(({ storeShared, matrixRow }, checks) => {
      for (let i = 0; i < 1024; i++) storeShared(i * 16, 16, 0, store)
      checks.barrier(0)
      for (let lane = 0; lane < 32; lane++) matrixRow(lane * stride, lane, load)
    }).memory[0]!.bankConflicts
  assert.is(conflicts(16), 0)
  assert.is(conflicts(128), 28)
  assert.is(conflicts(144), 0)
})

test('instructions are counted by class', () => {
  const report = launch((_, checks) => {
    checks.countInstruction('fma.rn.f32', 32)
    checks.countInstruction('mul.f32', 64)
    checks.countInstruction('mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32', 32)
  })
  assert.equal(report.instructions, { fp32: 96, tensor: 32 })
})

test('many segments and pages keep their order', () => {
  const checks = new Checker()
  checks.allocated(base, 1 << 20)
  const report = launch(
    ({ storeGlobal, loadGlobal }) => {
      for (let round = 0; round < 3000; round++) {
        const address = base + ((round * 4096) % (1 << 20)) + (round >> 8) * 4
        storeGlobal(address, 4, round % 128, store)
        checks.barrier(0)
        loadGlobal(address, 4, (round + 32) % 128, load)
      }
    },
    { checks },
  )
  assert.equal(kinds(report), [])
})

test('throughput of a checked access from WebAssembly', () => {
  const checks = new Checker()
  checks.allocated(base, 1 << 20)
  checks.initialised(base, 1 << 20)
  const m = new ModuleBuilder()
  const read = m.importFunction('checks', 'loadGlobal', ['f64', 'i32', 'i32', 'i32'], [])
  const w = m.function('run', [], [], { export: 'run' })
  const [i, thread] = [w.local('i32'), w.local('i32')]
  w.for(
    thread,
    w.i32.const(0),
    () => w.i32.const(128),
    () =>
      w.for(
        i,
        w.i32.const(0),
        () => w.i32.const(2000),
        () => {
          const turn = w.i32.mul(w.get(i), w.i32.const(512))
          const address = w.i32.add(turn, w.i32.mul(w.get(thread), w.i32.const(4)))
          const absolute = w.f64.convert_i32_u(w.i32.add(address, w.i32.const(base)))
          w.call(read, absolute, w.i32.const(4), w.get(thread), w.i32.const(load!))
        },
      ),
  )
  const imports = { checks: checks.imports as unknown as Record<string, unknown> }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), imports)
  let ms = 0
  const report = launch(
    () => {
      const start = performance.now()
      exports.run()
      ms = performance.now() - start
    },
    { checks },
  )
  const each = (ms * 1e6) / (128 * 2000)
  console.log(`a checked 4-byte load: ${each.toFixed(0)} ns`)
  assert.is(report.memory[0]!.requests, 4 * 2000)
  assert.is(report.memory[0]!.sectors, 4 * 2000 * 4)
  assert.ok(each < 20_000)
})

test.run()
