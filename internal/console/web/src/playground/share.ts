// A program as a fragment: the browser sends it to no server, and nothing is stored.
import { usual, type Settings } from './settings'

export interface Shared { code: string; settings: Settings }

const most = 64 << 10 // characters of a link; some programs cut longer ones

async function through(bytes: Uint8Array<ArrayBuffer>, t: CompressionStream | DecompressionStream): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(t)).arrayBuffer())
}

export async function packed(s: Shared): Promise<string> {
  const { stdin, svg, timeout, memory, cpus, runtime, mode } = s.settings // variables may be secrets, so they stay here
  const bytes = await through(new TextEncoder().encode(JSON.stringify({ c: s.code, s: { stdin, svg, timeout, memory, cpus, runtime, mode } })), new CompressionStream('deflate-raw'))
  let text = ''
  for (const b of bytes) text += String.fromCharCode(b)
  const out = btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  if (out.length > most) throw new Error('The program is too long for a link. Save it as a file and send that.')
  return out
}

// unpacked reads what somebody has made; it may be anything.
export async function unpacked(text: string): Promise<Shared> {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
    const plain = await through(bytes, new DecompressionStream('deflate-raw'))
    if (plain.length > 4 << 20) throw new Error('too long')
    const o = JSON.parse(new TextDecoder().decode(plain))
    if (typeof o.c !== 'string') throw new Error('no program')
    const settings: Settings = { ...usual }
    for (const name of ['stdin', 'timeout', 'memory', 'cpus', 'runtime'] as const) if (typeof o.s?.[name] === 'string') settings[name] = o.s[name]
    settings.svg = o.s?.svg === true
    settings.mode = o.s?.mode === 'once' ? 'once' : 'session'
    return { code: o.c, settings }
  } catch {
    throw new Error('The link has no program that can be read. It may have been cut: ask for it again.')
  }
}
