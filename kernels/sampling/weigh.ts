import { f32, fma, LOG2E } from '../../dsl/index.ts'
import { exp2OfSteps } from '../attention/arithmetic.ts'

/**
 * Device: what differences of logits are multiplied by before 2 is raised to them. The bound keeps 0 times it a number at
 * temperatures next to 0.
 */
export function toLog2(temperature: f32): f32 {
  return Math.min(LOG2E / temperature, 2 ** 100)
}

/** Added to a number from −1024 to 0 it rounds it to a multiple of 2⁻¹². */
const TO_STEPS = 3072

/**
 * Device: the weight of a logit beside that of a larger one, 0 to 1; 0 for −∞ and what is no number. The exponent is rounded
 * to a multiple of 2⁻¹², so that the hardware's power of 2 is known: an error of 8·10⁻⁵ in a weight, where 16-bit logits
 * have fifty times that.
 */
export function weightBeside(logit: f32, larger: f32, scale: f32): f32 {
  return exp2OfSteps(Math.max(stepsBelow(logit, larger, scale), -127))
}

/** Device: the same where nothing asks for the weight of what is no number. */
export function weightOfNumber(logit: f32, larger: f32, scale: f32): f32 {
  return exp2OfSteps(stepsBelow(logit, larger, scale))
}

const stepsBelow = (logit: f32, larger: f32, scale: f32): f32 =>
  fma(logit - larger, scale, f32(TO_STEPS)) - TO_STEPS

/** Device: the same where `larger` may be infinite, and weighs 1. */
export function weightBelow(logit: f32, larger: f32, scale: f32): f32 {
  return logit === larger ? f32(1) : weightBeside(logit, larger, scale)
}
