import type { Dims } from './kernel.ts'

/** What rules of a tuning space may know of a GPU; the compiler's targets are such. */
export interface TuningTarget {
  readonly name: string
  /** Compute capability times ten. */
  readonly capability: number
  /** Shared memory that one CTA may use, in bytes. */
  readonly sharedBytes: number
  /** Registers that one thread may use. */
  readonly registersPerThread: number
}

/** A named reason to leave configurations out. */
export interface SpaceRule<C> {
  /** What holds of the configurations that stay; names the rule in reports. */
  readonly why: string
  /** `dims` are the extents of a launch; without them, a rule answers whether any launch could want it. */
  keep(c: C, target: TuningTarget, dims?: Dims): boolean
}

/** A declared set of configurations: the product of the axes, less what the named rules remove. */
export interface Space<C> {
  readonly axes: Readonly<Record<string, readonly unknown[]>>
  readonly rules: readonly SpaceRule<C>[]
  /** Keeps only configurations for which `keep` holds; `why` names the rule in reports. */
  where(why: string, keep: SpaceRule<C>['keep']): Space<C>
  /** The extents that a record is kept for, of those of a launch; all of them where this is not said. */
  key(of: (dims: Dims) => Dims): Space<C>
  keyOf(dims: Dims): Dims
  /** The configurations of this space, then those of another, each under its own rules. */
  or<D>(other: Space<D>): Space<C | D>
  /** What the rules leave, in axis order. */
  configurations(target: TuningTarget, dims?: Dims): C[]
  /** The first rule that leaves a configuration out, by its name; `undefined` for one of `configurations`. */
  refusal(c: C, target: TuningTarget, dims?: Dims): string | undefined
  /** How many configurations there are before any rule, and how many each rule removes of those that come to it. */
  pruned(target: TuningTarget, dims?: Dims): { readonly all: number; readonly removed: readonly Pruned[] }
}

export interface Pruned {
  readonly why: string
  readonly count: number
}

/** Declares a tuning space: every combination of the values of its axes, until `where` removes some. */
export function space<const A extends Record<string, readonly unknown[]>>(
  axes: A,
): Space<{ -readonly [K in keyof A]: A[K][number] }> {
  return new AxisSpace(axes, [], (dims) => dims)
}

class AxisSpace<C> implements Space<C> {
  readonly axes: Readonly<Record<string, readonly unknown[]>>
  readonly rules: readonly SpaceRule<C>[]
  readonly keyOf: (dims: Dims) => Dims
  /** What the rules leave for some launch, by target: a space may have hundreds of thousands before them. */
  readonly #left = new Map<TuningTarget, readonly C[]>()

  constructor(axes: Space<C>['axes'], rules: readonly SpaceRule<C>[], keyOf: (dims: Dims) => Dims) {
    this.axes = axes
    this.rules = rules
    this.keyOf = keyOf
  }

  where(why: string, keep: SpaceRule<C>['keep']): Space<C> {
    return new AxisSpace(this.axes, [...this.rules, { why, keep }], this.keyOf)
  }

  key(of: (dims: Dims) => Dims): Space<C> {
    return new AxisSpace(this.axes, this.rules, of)
  }

  or<D>(other: Space<D>): Space<C | D> {
    return new JoinedSpace<C | D>([this, other])
  }

  configurations(target: TuningTarget, dims?: Dims): C[] {
    let left = this.#left.get(target)
    if (!left) {
      left = this.#all().filter((c) => this.#rule(c, target, undefined) === undefined)
      this.#left.set(target, left)
    }
    return dims ? left.filter((c) => this.#rule(c, target, dims) === undefined) : [...left]
  }

  refusal(c: C, target: TuningTarget, dims?: Dims): string | undefined {
    const names = Object.keys(this.axes)
    const values = c as Readonly<Record<string, unknown>>
    if (Object.keys(values).length !== names.length) return 'the axes of the space'
    if (names.some((name) => !this.axes[name]!.includes(values[name]))) return 'the axes of the space'
    return this.#rule(c, target, dims)?.why
  }

  pruned(target: TuningTarget, dims?: Dims): { all: number; removed: Pruned[] } {
    const all = this.#all()
    const counts = new Map<string, number>(this.rules.map(({ why }) => [why, 0]))
    for (const c of all) {
      const rule = this.#rule(c, target, dims)
      if (rule) counts.set(rule.why, counts.get(rule.why)! + 1)
    }
    return { all: all.length, removed: [...counts].map(([why, count]) => ({ why, count })) }
  }

  #rule(c: C, target: TuningTarget, dims: Dims | undefined): SpaceRule<C> | undefined {
    return this.rules.find((rule) => !rule.keep(c, target, dims))
  }

  #all(): C[] {
    let all: Record<string, unknown>[] = [{}]
    for (const [name, values] of Object.entries(this.axes))
      all = all.flatMap((c) => values.map((value) => ({ ...c, [name]: value })))
    return all as C[]
  }
}

/** Several spaces as one. A rule or key that is added to it concerns all of them. */
class JoinedSpace<C> implements Space<C> {
  readonly #parts: readonly Space<C>[]

  constructor(parts: readonly Space<unknown>[]) {
    this.#parts = parts as readonly Space<C>[]
  }

  /** Each axis with the values that it has in any of the spaces. */
  get axes(): Space<C>['axes'] {
    const axes: Record<string, unknown[]> = {}
    for (const part of this.#parts)
      for (const [name, values] of Object.entries(part.axes))
        axes[name] = [...new Set([...(axes[name] ?? []), ...values])]
    return axes
  }

  get rules(): readonly SpaceRule<C>[] {
    return this.#parts.flatMap((part) => part.rules)
  }

  where(why: string, keep: SpaceRule<C>['keep']): Space<C> {
    return new JoinedSpace(this.#parts.map((part) => part.where(why, keep)))
  }

  key(of: (dims: Dims) => Dims): Space<C> {
    return new JoinedSpace(this.#parts.map((part) => part.key(of)))
  }

  keyOf(dims: Dims): Dims {
    return this.#parts[0]!.keyOf(dims)
  }

  or<D>(other: Space<D>): Space<C | D> {
    return new JoinedSpace<C | D>([...this.#parts, other])
  }

  configurations(target: TuningTarget, dims?: Dims): C[] {
    return this.#parts.flatMap((part) => part.configurations(target, dims))
  }

  refusal(c: C, target: TuningTarget, dims?: Dims): string | undefined {
    const refusals = this.#parts.map((part) => part.refusal(c, target, dims))
    if (refusals.includes(undefined)) return undefined
    return refusals.find((why) => why !== 'the axes of the space') ?? refusals[0]
  }

  pruned(target: TuningTarget, dims?: Dims): { all: number; removed: Pruned[] } {
    const each = this.#parts.map((part) => part.pruned(target, dims))
    const counts = new Map<string, number>()
    for (const { why, count } of each.flatMap(({ removed }) => removed))
      counts.set(why, (counts.get(why) ?? 0) + count)
    return {
      all: each.reduce((sum, { all }) => sum + all, 0),
      removed: [...counts].map(([why, count]) => ({ why, count })),
    }
  }
}
