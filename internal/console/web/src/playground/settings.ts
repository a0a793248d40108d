// What a program is run with, and how a call of the API says so.

export interface Settings {
  mode: 'session' | 'once'
  runtime: string
  timeout: string
  memory: string // MiB
  cpus: string
  envs: string // lines NAME=VALUE
  stdin: string
  svg: boolean
}

export const usual: Settings = { mode: 'session', runtime: '', timeout: '', memory: '', cpus: '', envs: '', stdin: '', svg: false }

export interface Dropped { path: string; content: Blob }

// ofRun is what each run has of its own, in a session too.
export const ofRun = (s: Settings) => ({
  ...(s.timeout ? { timeout: Number(s.timeout) } : {}),
  ...(s.svg ? { figureFormats: ['svg'] } : {}),
})

// ofInterpreter is what an interpreter is made with.
export function ofInterpreter(s: Settings) {
  const limits: Record<string, number> = {}
  if (s.memory) limits.memoryBytes = Math.round(Number(s.memory) * (1 << 20))
  if (s.cpus) limits.cpus = Number(s.cpus)
  return {
    ...(s.runtime ? { runtime: s.runtime } : {}), ...(Object.keys(limits).length ? { limits } : {}),
    ...(s.envs.trim() ? { envs: parsedEnvs(s.envs) } : {}),
  }
}

// bodyOf is what a call has for a run without a session.
export async function bodyOf(code: string, s: Settings, dropped: Dropped[]): Promise<Record<string, unknown>> {
  const files = await Promise.all(dropped.map(async (f) => ({ path: f.path, contentBase64: await base64(f.content) })))
  return { code, ...ofRun(s), ...ofInterpreter(s), ...(s.stdin ? { stdin: s.stdin } : {}), ...(files.length ? { files } : {}) }
}

export function parsedEnvs(text: string): Record<string, string> {
  const all: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const at = line.indexOf('=')
    if (at > 0) all[line.slice(0, at).trim()] = line.slice(at + 1)
  }
  return all
}

async function base64(content: Blob): Promise<string> {
  const bytes = new Uint8Array(await content.arrayBuffer())
  let text = ''
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
  return btoa(text)
}
