import { addressOf } from './driver.ts'

/** `CUjit_option` values. */
const jitOption = {
  infoLog: 3,
  infoLogBytes: 4,
  errorLog: 5,
  errorLogBytes: 6,
  verboseLog: 12,
  lineInfo: 13,
} as const

const logBytes = 16 * 1024

/** The options of the driver's compiler, in memory that the driver may use for as long as this object is kept. */
export class JitOptions {
  readonly count: number
  readonly #keys: Int32Array
  readonly #values: BigUint64Array
  readonly #info = new Uint8Array(logBytes)
  readonly #errors = new Uint8Array(logBytes)

  constructor() {
    const options: [number, bigint][] = [
      [jitOption.infoLog, BigInt(addressOf(this.#info))],
      [jitOption.infoLogBytes, BigInt(logBytes)],
      [jitOption.errorLog, BigInt(addressOf(this.#errors))],
      [jitOption.errorLogBytes, BigInt(logBytes)],
      [jitOption.verboseLog, 1n],
      [jitOption.lineInfo, 1n],
    ]
    this.count = options.length
    // Short arrays live in buffers of their own: V8 would keep and move them in its heap.
    this.#keys = new Int32Array(new ArrayBuffer(4 * options.length))
    this.#values = new BigUint64Array(new ArrayBuffer(8 * options.length))
    options.forEach(([key, value], i) => {
      this.#keys[i] = key
      this.#values[i] = value
    })
  }

  get keys(): number {
    return addressOf(this.#keys)
  }

  get values(): number {
    return addressOf(this.#values)
  }

  get log(): string {
    return textOf(this.#info)
  }

  get errorLog(): string {
    return textOf(this.#errors)
  }
}

/** The text up to the terminating zero. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.buffer, 0, end < 0 ? bytes.length : end)
    .toString('utf8')
    .trim()
}
