import { exp2Product, f32, LOG2E } from '../../dsl/index.ts'

/**
 * Device: what differences of logits are multiplied by before 2 is raised to them. The bound keeps 0 times it a number at
 * temperatures next to 0.
 */
export function toLog2(temperature: f32): f32 {
  return Math.min(LOG2E / temperature, 2 ** 100)
}

/**
 * Device: the weight of a logit beside that of a larger one, up to 1. That of −∞, and of what is no number, is 2⁻¹²⁵: nothing
 * beside what is ever added or compared.
 */
export function weightBeside(logit: f32, larger: f32, scale: f32): f32 {
  return exp2Product(Math.max((logit - larger) * scale, -125), 1)
}

/** Device: the same where `larger` may be infinite, and weighs 1. */
export function weightBelow(logit: f32, larger: f32, scale: f32): f32 {
  return logit === larger ? f32(1) : weightBeside(logit, larger, scale)
}
