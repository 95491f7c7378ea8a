/** A part of what a model says when it has tools. */
export type ToolEvent =
  | { readonly type: 'text'; readonly text: string }
  /** A call begins. Calls of a message are numbered from 0. */
  | { readonly type: 'call'; readonly index: number; readonly name: string }
  /** More of the JSON text of a call's arguments. */
  | { readonly type: 'arguments'; readonly index: number; readonly text: string }

/** Appends an event, one of text or arguments to the last where that is of the same kind. */
export function pushEvent(dst: ToolEvent[], event: ToolEvent): void {
  if (event.type !== 'call' && event.text === '') return
  const last = dst.at(-1)
  if (event.type === 'text' && last?.type === 'text')
    dst[dst.length - 1] = { type: 'text', text: last.text + event.text }
  else if (event.type === 'arguments' && last?.type === 'arguments' && last.index === event.index)
    dst[dst.length - 1] = { ...event, text: last.text + event.text }
  else dst.push(event)
}
