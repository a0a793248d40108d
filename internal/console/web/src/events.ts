// Server-sent events by fetch: an EventSource can bring no key.
import { fetched, Problem, type Options } from './api'

export interface ServerEvent {
  id: string
  type: string
  data: any
}

const longest = 25

// turn lets the page do what else there is to do. A timer would wait longer each time.
const turn = () => new Promise<void>((done) => {
  const c = new MessageChannel()
  c.port1.onmessage = () => { c.port1.close(); done() }
  c.port2.postMessage(null)
})

// events calls onEvent with each event of one connection. It returns when the stream ends.
export async function events(path: string, o: Options & { method?: string }, onEvent: (e: ServerEvent) => void): Promise<number> {
  const res = await fetched(o.method ?? 'GET', path, { ...o, headers: { Accept: 'text/event-stream', ...o.headers } })
  if (res.status === 204 || !res.body) return res.status
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let began = performance.now()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return res.status
    rest += value
    let end, at = 0
    while ((end = rest.indexOf('\n\n', at)) >= 0) {
      const e = parsed(rest.slice(at, end))
      at = end + 2
      if (e) onEvent(e)
      if (performance.now() - began > longest) { // many events that have waited must not keep the page from answering
        await turn()
        began = performance.now()
      }
    }
    rest = rest.slice(at)
  }
}

function parsed(block: string): ServerEvent | null {
  let id = '', type = 'message', data = ''
  for (const line of block.split('\n')) {
    const at = line.indexOf(':')
    if (at <= 0) continue
    const value = line.slice(at + 1).replace(/^ /, '')
    switch (line.slice(0, at)) {
      case 'id': id = value; break
      case 'event': type = value; break
      case 'data': data += data ? '\n' + value : value
    }
  }
  return data ? { id, type, data: JSON.parse(data) } : null
}

const final = ['completed', 'failed', 'cancelled']
export const isFinal = (state: string): boolean => final.includes(state)

const pause = (ms: number, signal?: AbortSignal) => new Promise<void>((done) => {
  const t = setTimeout(done, ms)
  signal?.addEventListener('abort', () => { clearTimeout(t); done() }, { once: true })
})

// A browser has six connections to an address, and calls need some. Streams beyond mostStreams wait, and those that are open give way in turns.
const mostStreams = 3
const turnTime = 2000

interface Place { end: AbortController; timer: ReturnType<typeof setInterval> }

const places: Place[] = [] // of the streams that are open, the oldest first
const waiting: ((p: Place) => void)[] = []

function take(): Place {
  const mine: Place = { end: new AbortController(), timer: setInterval(() => { if (waiting.length && places[0] === mine) mine.end.abort() }, turnTime) }
  places.push(mine)
  return mine
}

// place returns the place of a stream, which gives it back when it has ended, and ends when that is aborted. For a fresh one the oldest ends at once.
function place(fresh: boolean): Place | Promise<Place> {
  if (places.length < mostStreams) return take()
  if (fresh) places.find((p) => !p.end.signal.aborted)?.end.abort()
  return new Promise((done) => { if (fresh) waiting.unshift(done); else waiting.push(done) })
}

function giveBack(p: Place) {
  clearInterval(p.timer)
  places.splice(places.indexOf(p), 1)
  waiting.shift()?.(take())
}

// follow calls onEvent with the events of a job from an id on until its end. When the connection breaks it connects again: it misses
// nothing and repeats nothing. It throws for what cannot be followed.
export async function follow(path: string, onEvent: (e: ServerEvent) => void, after = '', signal?: AbortSignal): Promise<void> {
  let last = after
  for (let tries = 0, fresh = true; !signal?.aborted; fresh = false) {
    const mine = await place(fresh)
    const { end } = mine
    const stop = () => end.abort()
    signal?.addEventListener('abort', stop)
    let over = false
    try {
      if (signal?.aborted) return
      const status = await events(path, { signal: end.signal, headers: last ? { 'Last-Event-ID': last } : {} }, (e) => {
        tries = 0
        if (e.id) last = e.id
        if (e.type === 'error' && e.data.code !== undefined) {
          if (!e.data.resumable) throw new Problem(0, e.data.code, e.data.detail)
          return
        }
        onEvent(e)
        over ||= e.type === 'status' && isFinal(e.data.state)
      })
      if (over || status === 204) return
    } catch (err) {
      if (signal?.aborted) return
      if (!end.signal.aborted && !tryAgain(err)) throw err
    } finally {
      signal?.removeEventListener('abort', stop)
      giveBack(mine)
    }
    if (end.signal.aborted) continue // for another stream
    tries++
    await pause(Math.min(250 * 2 ** Math.min(tries, 5), 5000), signal)
  }
}

function tryAgain(err: unknown): boolean {
  if (!(err instanceof Problem)) return true
  return err.status === 0 ? err.code === 'unreachable' : err.status === 429 || err.status === 503
}
