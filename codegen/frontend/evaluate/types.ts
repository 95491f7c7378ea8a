import type { Module, TypeDefinition } from '../names.ts'
import type { Expression, Spread, TypeNode } from '../syntax.ts'
import type { Evaluator } from './evaluator.ts'
import type { Tensor } from './memory.ts'
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

const tensorAccess: Readonly<Record<string, string>> = { In: 'In', Out: 'Out', InOut: 'InOut' }

/** Refuses a tensor whose element type or layout tag is not what a parameter's type says. */
export function checkTensor(ev: Evaluator, tensor: Tensor, type: TypeNode, node: Expression | Spread): void {
  if (type.kind !== 'reference') return
  const definition = ev.modules.findType(ev.frame.module, type.name)
  if (definition?.kind !== 'language' || !(definition.name in tensorAccess)) return
  const [element, , tag] = type.args
  const dtype = element && annotationOf(ev, element)
  if (dtype && dtype !== tensor.dtype) {
    throw ev.error('E0103', `expected a tensor of ${dtype}, and ${tensor.name} holds ${tensor.dtype}`, node, {
      notes: [{ message: 'the parameter', span: type.span }, { message: tensor.describe() }],
    })
  }
  const wanted = tag === undefined ? 'row' : tag.kind === 'literal' ? tag.value : undefined
  if (wanted === undefined || wanted === tensor.info.tag) return
  throw ev.error(
    'E0414',
    `expected the layout '${wanted}', and ${tensor.name} lies in '${tensor.info.tag}'`,
    node,
    {
      notes: [{ message: 'the parameter', span: type.span }, { message: tensor.describe() }],
      help: `pass a tensor packed as '${wanted}', or a function that reads '${tensor.info.tag}'`,
    },
  )
}
