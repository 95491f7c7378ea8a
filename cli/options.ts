import { InvalidArgumentError, Option } from 'commander'

/** `--device`, the same for every command that runs kernels. */
export const deviceOption = () =>
  new Option(
    '--device <name>',
    'where to run: cuda:0, cuda:1, …, emulator, or emulator:checked, which finds races and accesses out of ' +
      'bounds (default: a GPU if there is one)',
  )

/** `--gpus`, for commands that may run on several. */
export const gpusOption = () =>
  new Option('--gpus <list>', 'GPUs that each run the model and share the requests: 0,1,…')
    .conflicts('device')
    .argParser((text): readonly string[] => {
      const names = text.split(',').map((name) => name.trim())
      if (names.includes('')) throw new InvalidArgumentError('Give numbers of GPUs with commas between: 0,1.')
      return names.map((name) => (/^\d+$/.test(name) ? `cuda:${name}` : name))
    })

/** `--json`, the same for every command that has results. */
export const jsonOption = () => new Option('--json', 'print one JSON object, for programs')

/** Gathers the values of an option that may be repeated. */
export const collect = (value: string, before: readonly string[]): string[] => [...before, value]

/** Parses a whole number of at least `min`, and at most `max` where there is one. */
export const wholeNumber =
  (min: number, max?: number) =>
  (text: string): number => {
    const value = Number(text)
    if (
      text.trim() === '' ||
      !Number.isSafeInteger(value) ||
      value < min ||
      (max !== undefined && value > max)
    )
      throw new InvalidArgumentError(
        `It must be a whole number ${max === undefined ? `of at least ${min}` : `from ${min} to ${max}`}.`,
      )
    return value
  }

/** Parses whole numbers of at least `min`, with commas between. */
export const wholeNumbers =
  (min: number) =>
  (text: string): number[] =>
    text.split(',').map(wholeNumber(min))

/** Parses a number from `min` to `max`. */
export const numberBetween =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`)
    return value
  }
