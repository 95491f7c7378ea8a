/** Says on stderr what a reader of another program's checkpoint noted: what was guessed, or is not as it seems. */
export function sayImportNotes(notes: readonly string[] = []): void {
  for (const note of notes) console.error(`note: ${note}`)
}
