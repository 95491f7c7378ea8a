/**
 * Turns of clients, so that one with many requests does not keep others waiting: a request's turn is the one after that of
 * its client's last request, or the one after the present turn where that is later. Requests are served in the order of
 * turns.
 *
 *   a a a a b   get the turns   1 2 3 4 1
 */
export class Turns {
  #present = 0
  readonly #clients = new Map<string, { last: number; requests: number }>()

  /** The turn of a client's next request. */
  take(client: string): number {
    const entry = this.#clients.get(client) ?? { last: 0, requests: 0 }
    entry.last = Math.max(entry.last, this.#present) + 1
    entry.requests++
    this.#clients.set(client, entry)
    return entry.last
  }

  /** A request of this turn begins to be served. */
  serve(turn: number): void {
    this.#present = Math.max(this.#present, turn)
  }

  /** A request of a client is over. A client that has none left is forgotten. */
  leave(client: string): void {
    const entry = this.#clients.get(client)!
    if (--entry.requests === 0) this.#clients.delete(client)
  }

  /** Clients that are remembered. */
  get clients(): number {
    return this.#clients.size
  }
}
