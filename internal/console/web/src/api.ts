// Calls of the API. All of the console's requests pass here: they bring the key, and each failure becomes a Problem whose words can
// be shown as they are.
import { signal } from '@preact/signals'

// The root of the API is where the folder of this script is, perhaps below a prefix that a proxy has. The address of the page would not tell: below
// /kaa it is /kaa or /kaa/.
const base = new URL('..', import.meta.url)
const stored = 'kaa.key'

export interface Me {
  required: boolean
  id?: string
  tenant?: string
  scopes: string[]
}

export type Scope = 'execute' | 'read' | 'files' | 'sessions' | 'admin'

// key is kept for this tab alone, and ends with it.
export const key = signal(sessionStorage.getItem(stored) ?? '')
// me is who the key is of; it stays while another key is asked for, and the page with it.
export const me = signal<Me | null>(null)
// refused is why the API does not take the key: in words, for the dialog that asks for another one.
export const refused = signal<string | null>(null)
// reachable is false while the API does not answer.
export const reachable = signal(true)
// may reports whether the key allows something. What it does not allow is not offered.
export function may(scope: Scope): boolean {
  const scopes = me.value?.scopes ?? []
  return scopes.includes(scope) || scopes.includes('admin')
}

export class Problem extends Error {
  status: number
  code: string
  fields: Record<string, unknown>
  constructor(status: number, code: string, detail: string, fields: Record<string, unknown> = {}) {
    super(detail)
    this.status = status
    this.code = code
    this.fields = fields
  }
}

// wordsOf are what a person reads about an error.
export function wordsOf(err: unknown): string {
  if (err instanceof Problem) {
    const issues = err.fields.errors
    if (Array.isArray(issues) && issues.length > 0) {
      return issues.map((i: { location?: string; message?: string }) => `${(i.location ?? '').replace(/^body\./, '')}: ${i.message ?? ''}`).join('; ')
    }
    return err.message
  }
  return err instanceof Error ? err.message : String(err)
}

export interface Options {
  body?: unknown
  raw?: BodyInit
  type?: string
  query?: Record<string, string | number | boolean | undefined | null>
  headers?: Record<string, string>
  signal?: AbortSignal
}

export function urlOf(path: string, query: Options['query'] = {}): URL {
  const url = new URL(path.replace(/^\//, ''), base)
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.append(name, String(value))
  }
  return url
}

// address is what the API is called at by other programs.
export const address = (): string => base.href.replace(/\/$/, '')

// fetched sends a request and returns the answer, if it is no problem.
export async function fetched(method: string, path: string, o: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { ...o.headers }
  if (key.value) headers.Authorization = `Bearer ${key.value}`
  let body = o.raw
  if (o.body !== undefined) {
    body = JSON.stringify(o.body)
    headers['Content-Type'] = 'application/json'
  } else if (o.type) {
    headers['Content-Type'] = o.type
  }
  const used = key.value
  let res: Response
  try {
    res = await fetch(urlOf(path, o.query), { method, headers, body, signal: o.signal, credentials: 'omit', cache: 'no-store', redirect: 'error' })
  } catch (err) {
    if (o.signal?.aborted) throw err
    lost()
    throw new Problem(0, 'unreachable', 'The API does not answer. It may be restarting, or the network is down.')
  }
  reachable.value = true
  if (res.ok) return res
  const problem = await problemOf(res)
  if (res.status === 401 && used === key.value) signedOut(problem.message)
  throw problem
}

async function problemOf(res: Response): Promise<Problem> {
  const text = await res.text().catch(() => '')
  try {
    const p = JSON.parse(text)
    return new Problem(res.status, p.code ?? 'unknown', p.detail ?? p.title ?? text, p)
  } catch {
    return new Problem(res.status, 'unknown', `The answer was ${res.status} ${res.statusText}, and no message of Kaa. A proxy may have sent it.`)
  }
}

export async function call<T>(method: string, path: string, o: Options = {}): Promise<T> {
  const res = await fetched(method, path, { ...o, headers: { Accept: 'application/json', ...o.headers } })
  if (res.status === 204) return undefined as T
  return (await res.json()) as T
}

export const get = <T>(path: string, query?: Options['query'], signal?: AbortSignal): Promise<T> => call<T>('GET', path, { query, signal })
export const post = <T>(path: string, body: unknown = {}, o: Options = {}): Promise<T> => call<T>('POST', path, { ...o, body })
export const remove = <T>(path: string): Promise<T> => call<T>('DELETE', path)

function signedOut(why: string) {
  refused.value = key.value ? why : ''
}

// signIn tries a key; an empty one, at a Kaa that may need none.
export async function signIn(candidate: string): Promise<void> {
  const before = key.value
  key.value = candidate.trim()
  try {
    me.value = await get<Me>('/v1/key')
    refused.value = null
    if (key.value) sessionStorage.setItem(stored, key.value)
  } catch (err) {
    if (!(err instanceof Problem && err.status === 401)) key.value = before
    throw err
  }
}

export function signOut() {
  sessionStorage.removeItem(stored)
  key.value = ''
  me.value = null
  signedOut('')
}

let waiting = false
// lost notes that the API does not answer, and asks until it does.
function lost() {
  reachable.value = false
  if (waiting) return
  waiting = true
  const ask = async () => {
    try {
      if ((await fetch(urlOf('/healthz'), { cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(30_000) })).ok) {
        waiting = false
        reachable.value = true
        return
      }
    } catch { /* it does not answer yet */ }
    setTimeout(ask, 1000)
  }
  setTimeout(ask, 500)
}

// socket opens a WebSocket. Scripts can set no header for it, so the key is a subprotocol; it is never in a URL.
export function socket(path: string): WebSocket {
  const url = urlOf(path)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  const protocols = ['kaa']
  if (key.value) {
    const bytes = new TextEncoder().encode(key.value)
    protocols.push('kaa-key.' + btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''))
  }
  return new WebSocket(url, protocols)
}
