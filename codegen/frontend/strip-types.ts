import { typescript } from './source.ts'

/** A TypeScript module as JavaScript: types gone, imports that only types use gone with them. */
export function stripTypes(text: string): string {
  const ts = typescript()
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      removeComments: false,
    },
  })
  return outputText
}
