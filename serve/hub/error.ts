/** A model that the hub does not give. The message says why, and what to do. */
export class HubError extends Error {
  override readonly name = 'HubError'
}
