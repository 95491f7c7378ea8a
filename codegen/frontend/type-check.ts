import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Diagnostic } from '../diagnostics.ts'
import { packageSources } from './names.ts'
import type { ts as TypeScript, TypeScriptApi } from './source.ts'
import { parse, programOf, typescript } from './source.ts'
import type { SourceText } from './syntax.ts'

/**
 * The errors that TypeScript's checker finds in a file, as an editor shows them: E0001 for its syntax, E0010 for its
 * types. The compile path never comes here; a check costs about a second, for the libraries that the file imports.
 */
export function typeErrors(path: string, text: string): Diagnostic[] {
  const ts = typescript()
  const { source } = parse(path, text)
  const program = programOf(path, options(ts, path))
  const file = program.getSourceFile(path)
  if (!file) return []
  return program.getSemanticDiagnostics(file).map((problem) => diagnosed(ts, problem, source))
}

/** The options of the project that a file belongs to, or strict ones; imports of this package find its sources. */
function options(ts: TypeScriptApi, path: string): TypeScript.CompilerOptions {
  const found = ts.findConfigFile(dirname(path), ts.sys.fileExists)
  const read = found === undefined ? undefined : ts.readConfigFile(found, ts.sys.readFile)
  const project =
    found !== undefined && read?.config
      ? ts.parseJsonConfigFileContent({ ...read.config, files: [path] }, ts.sys, dirname(found)).options
      : {}
  const sources = join(packageSources, 'index.ts')
  return {
    strict: true,
    target: ts.ScriptTarget.ES2022,
    // The DOM's library for `import.meta.url` and `console`, where a project does not say what it has.
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
    ...project,
    // Kernels are modules by `import.meta.url`; no need to ask the nearest package.json.
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    allowImportingTsExtensions: true,
    rewriteRelativeImportExtensions: false,
    skipLibCheck: true,
    noEmit: true,
    noUnusedLocals: false,
    noUnusedParameters: false,
    ...(existsSync(sources) && {
      paths: {
        ...project.paths,
        quattuor: [sources],
        'quattuor/dsl': [join(packageSources, 'dsl/index.ts')],
        'quattuor/kernels': [join(packageSources, 'kernels/index.ts')],
      },
    }),
  }
}

function diagnosed(ts: TypeScriptApi, problem: TypeScript.Diagnostic, source: SourceText): Diagnostic {
  const message = ts.flattenDiagnosticMessageText(problem.messageText, '\n')
  const [first, ...rest] = message.split('\n').map((line) => line.trim())
  const start = problem.start ?? 0
  const notes = [...rest.map((line) => ({ message: line })), ...related(ts, problem)]
  return new Diagnostic('E0010', `${first} (TS${problem.code})`, {
    span: { source, start, end: start + (problem.length ?? 1) },
    notes,
    help: /'(In|Out|InOut|Shared)</.test(first!) && problem.code === 7053 ? brackets : undefined,
  })
}

const brackets = 'elements are read with at(…index) and written with put(value, …index)'

function related(ts: TypeScriptApi, problem: TypeScript.Diagnostic) {
  return (problem.relatedInformation ?? []).map((information) => {
    const message = ts.flattenDiagnosticMessageText(information.messageText, ' ')
    const { file, start, length } = information
    if (!file || start === undefined) return { message }
    const source: SourceText = { path: file.fileName, text: file.text, lineStarts: file.getLineStarts() }
    return { message, span: { source, start, end: start + (length ?? 1) } }
  })
}
