import type { ModelConfig, Rope } from '../checkpoint/config.ts'

/**
 * Cosines and sines of the rotary embedding, `positions` rows of `headDim` values: D/2 cosines, then D/2 sines.
 *
 * Angles are products of two f32 numbers rounded to f32, as in the models' own training code; cosine and sine of that
 * angle are exact to f32.
 */
export function ropeTable(config: Pick<ModelConfig, 'headDim' | 'rope'>, positions: number): Float32Array {
  const half = config.headDim / 2
  const frequencies = ropeFrequencies(config.rope, config.headDim)
  const table = new Float32Array(positions * config.headDim)
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!)
      table[position * config.headDim + i] = Math.cos(angle)
      table[position * config.headDim + half + i] = Math.sin(angle)
    }
  }
  return table
}

/** Radians per position of each of the D/2 pairs, with the family's scaling for long contexts applied. */
export function ropeFrequencies(rope: Rope, headDim: number): Float32Array {
  const base = Float32Array.from(
    { length: headDim / 2 },
    (_, i) => 1 / Math.fround(rope.theta ** ((2 * i) / headDim)),
  )
  const { scaling } = rope
  if (scaling === undefined) return base
  if (scaling.type === 'linear') return base.map((frequency) => frequency / scaling.factor)
  // Llama 3: wavelengths beyond the original context are stretched, short ones kept, and those between blended.
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling
  return base.map((frequency) => {
    const turns = (originalMaxPositions * frequency) / (2 * Math.PI)
    const kept = Math.min(Math.max((turns - low) / (high - low), 0), 1)
    return (1 - kept) * (frequency / factor) + kept * frequency
  })
}
