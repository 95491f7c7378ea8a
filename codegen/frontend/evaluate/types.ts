import type { Module, TypeDefinition } from '../names.ts'
import type { TypeNode } from '../syntax.ts'
import type { Evaluator } from './evaluator.ts'
import type { ScalarType } from './values.ts'
import { isScalarType } from './values.ts'

/** The device scalar that a type annotation names, if it names one. */
export function annotationOf(ev: Evaluator, type: TypeNode): ScalarType | undefined {
  return scalarOf(ev, type, ev.frame.module)
}

function scalarOf(ev: Evaluator, type: TypeNode, module: Module): ScalarType | undefined {
  if (type.kind === 'union') {
    const parts = type.parts.filter((p) => !(p.kind === 'reference' && p.name === 'undefined'))
    return parts.length === 1 ? scalarOf(ev, parts[0]!, module) : undefined
  }
  if (type.kind !== 'reference') return undefined
  const definition: TypeDefinition | undefined = ev.modules.findType(module, type.name)
  if (!definition) return undefined
  if (definition.kind === 'type') {
    const { declaration } = definition
    return declaration.params.length === 0 ? scalarOf(ev, declaration.type, definition.module) : undefined
  }
  if (definition.name === 'Elem') {
    const [argument] = type.args
    const spelled = argument?.kind === 'literal' ? ev.config[String(argument.value)] : undefined
    return typeof spelled === 'string' && isScalarType(spelled) ? spelled : undefined
  }
  return isScalarType(definition.name) ? definition.name : undefined
}
