/** A model on the hub of Hugging Face. */
export interface HubName {
  /** `OWNER/MODEL` */
  readonly name: string
  /** A branch, a tag or a commit. */
  readonly revision: string
}

const part = '[A-Za-z0-9](?:[\\w-]|\\.(?!\\.))*'
const pattern = new RegExp(`^(${part}/${part})(?:@([\\w](?:[\\w-]|\\.(?!\\.))*))?$`)

/** Reads `OWNER/MODEL` or `OWNER/MODEL@REVISION`; `undefined` for what is no name of the hub. */
export function parseHubName(text: string): HubName | undefined {
  const [, name, revision = 'main'] = pattern.exec(text) ?? []
  return name === undefined || text.length > 200 ? undefined : { name, revision }
}
