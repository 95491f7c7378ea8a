import type { ModelConfig, Rope, RopeScaling } from '../checkpoint/config.ts'

/**
 * Cosines and sines of the rotary embedding, `positions` rows of `rope.columns` values: the cosines of half as many angles,
 * then their sines, times YaRN's attention factor where there is one.
 *
 * Angles are products of two f32 numbers rounded to f32, as in the models' own training code; cosine and sine of that
 * angle are exact to f32.
 */
export function ropeTable({ rope }: Pick<ModelConfig, 'rope'>, positions: number): Float32Array {
  const { columns, scaling } = rope
  const half = columns / 2
  const factor = scaling?.type === 'yarn' ? scaling.attentionFactor : 1
  const frequencies = ropeFrequencies(rope)
  const table = new Float32Array(positions * columns)
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!)
      table[position * columns + i] = factor * Math.cos(angle)
      table[position * columns + half + i] = factor * Math.sin(angle)
    }
  }
  return table
}

/** Radians per position of each pair of columns, with the family's scaling for long contexts applied. */
export function ropeFrequencies(rope: Rope): Float32Array {
  const { columns, scaling, theta } = rope
  const base = Float32Array.from(
    { length: columns / 2 },
    (_, i) => 1 / Math.fround(theta ** ((2 * i) / columns)),
  )
  switch (scaling?.type) {
    case undefined:
      return base
    case 'linear':
      return base.map((frequency) => frequency / scaling.factor)
    case 'llama3': {
      // Wavelengths beyond the original context are stretched, short ones kept, and those between blended.
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling
      return base.map((frequency) => {
        const turns = (originalMaxPositions * frequency) / (2 * Math.PI)
        const kept = Math.min(Math.max((turns - low) / (high - low), 0), 1)
        return (1 - kept) * (frequency / factor) + kept * frequency
      })
    }
    case 'yarn': {
      const [first, last] = yarnRange(rope, scaling)
      return base.map((frequency, i) => {
        const stretched = Math.min(Math.max((i - first) / (last - first), 0), 1)
        return stretched * (frequency / scaling.factor) + (1 - stretched) * frequency
      })
    }
  }
}

/** Between which pairs YaRN goes over from frequencies that are kept to stretched ones. */
function yarnRange(
  { columns, theta }: Rope,
  { betaFast, betaSlow, originalMaxPositions, truncate }: Extract<RopeScaling, { type: 'yarn' }>,
): [number, number] {
  /** The pair that turns so often within the original context. */
  const pairOf = (turns: number) =>
    (columns * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)]
  const first = Math.max(truncate ? Math.floor(fast) : fast, 0)
  const last = Math.min(truncate ? Math.ceil(slow) : slow, columns - 1)
  // Transformers parts equal ends by so much.
  return [first, last === first ? last + 0.001 : last]
}
