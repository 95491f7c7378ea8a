import { DeviceError } from '../../device.ts'
import { findingCodes } from './finding-codes.ts'
import type { Finding, FindingKind, Site } from './interface.ts'
import type { AccessKind } from './shadow.ts'

export type Space = 'global' | 'shared'

/** What a launch did wrong, once per kind and pair of sites. */
export class Findings {
  private kernel = ''
  private sites: readonly Site[] = []
  private found = new Map<string, Finding>()
  /** The CTA whose threads the messages speak of. */
  cta = 0

  begin(kernel: string, sites: readonly Site[]): void {
    this.kernel = kernel
    this.sites = sites
    this.found = new Map()
  }

  list(): Finding[] {
    return [...this.found.values()]
  }

  site(index: number): Site {
    return this.sites[index]!
  }

  /** Records a finding; `message` is asked once. */
  add(
    kind: FindingKind,
    space: Finding['space'],
    site: number,
    otherSite: Site | undefined,
    message: () => string,
  ): void {
    const key = `${kind} ${space} ${site} ${otherSite?.line}`
    const known = this.found.get(key)
    if (known) {
      known.count++
      return
    }
    const finding = { kind, space, message: message(), site: this.site(site), count: 1 }
    this.found.set(key, otherSite ? { ...finding, otherSite } : finding)
  }

  /** Records a fault that the launch cannot survive, and leaves the kernel. */
  fail(kind: FindingKind, space: Space, site: number, message: string): never {
    this.add(kind, space, site, undefined, () => message)
    const { kernel } = this
    const { location } = this.site(site)
    throw new DeviceError(findingCodes[kind], message, {
      kernel,
      ...(location === undefined ? {} : { location }),
    })
  }

  /** `Thread 3 of CTA 0 (st.shared.b32, file.ts:5)`. */
  who(thread: number, site: number): string {
    return `Thread ${thread} of CTA ${this.cta} (${nameOf(this.site(site))})`
  }

  /** What a thread does to some bytes, as the beginning of a sentence. */
  access(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): string {
    const amount = bytes === 1 ? '1 byte' : `${bytes} bytes`
    const instruction = nameOf(this.site(site))
    return `Thread ${thread} of CTA ${this.cta} ${verbs[kind]} ${amount} of ${space} memory at ${hex(address)} (${instruction})`
  }
}

export const verbs: Readonly<Record<AccessKind, string>> = {
  read: 'reads',
  write: 'writes',
  atomic: 'changes atomically',
}

export function nameOf(site: Site): string {
  return `${site.opcode}, ${site.location ?? `PTX line ${site.line}`}`
}

export function hex(address: number): string {
  return `0x${(address < 0 ? address >>> 0 : address).toString(16)}`
}
