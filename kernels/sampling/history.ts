/**
 * What a slot knows of its request's tokens, on the device: 16 bits for each token of the vocabulary, two to a word, and one
 * bit that says whether they are all 0, by which the others are found.
 */

/** The token is in the prompt. */
export const IN_PROMPT = 1
/** One occurrence in the output; more are added up. */
export const OCCURRENCE = 2
/** Occurrences stay below the topmost bit. */
export const MOST_OCCURRENCES = 2 ** 14 - 1
/** The token has an entry in the list of biases. */
export const BIASED = 2 ** 15

/** Words of a row of such halves. */
export const historyWordsOf = (V: number): number => Math.ceil(V / 2)
