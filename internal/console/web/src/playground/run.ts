// An execution of a program as the page shows it: its events become items.
import { signal } from '@preact/signals'
import { isFinal } from '../events'
import { Screen } from './ansi'

export interface Value {
  main?: boolean
  data: Record<string, unknown>
  displayId?: string
  update?: boolean
  truncated?: { rows?: { shown: number; total: number } }
}

export interface Failure { name: string; value: string; traceback: string }

export type Item =
  | { kind: 'text'; stream: string; screen: Screen; version: number }
  | { kind: 'value'; value: Value }
  | { kind: 'error'; error: Failure }
  | { kind: 'note'; text: string }

export interface OutFile { path: string; size: number; type: string }

export interface Outcome {
  state: string
  status?: string
  exitCode?: number
  durationMs?: number
  cpuMs?: number
  peakMemoryBytes?: number
  queuedMs?: number
  files?: OutFile[]
  notices?: { code: string; message: string }[]
  error?: Failure
  failure?: { code: string; message: string }
}

export interface Question { request: number; prompt: string }

const mostValues = 500
let count = 0

export class Run {
  readonly id = `r${Date.now().toString(36)}${++count}`
  readonly code: string
  jobId = ''
  lastEvent = ''
  items: Item[] = []
  clearNext = false
  sent = false // over the socket
  streamed = false // its events come from a stream of its own, and those of the socket are repetitions
  readonly state = signal('sending')
  readonly question = signal<Question | null>(null)
  readonly outcome = signal<Outcome | null>(null)
  // version is moved on when items have changed: at most some thirty times a second, however much comes.
  readonly version = signal(0)
  private timer = 0

  constructor(code: string) { this.code = code }

  get over(): boolean { return this.outcome.value !== null }

  touched() {
    if (!this.timer) this.timer = window.setTimeout(() => { this.timer = 0; this.version.value++ }, 33)
  }

  note(text: string) {
    this.items.push({ kind: 'note', text })
    this.touched()
  }

  // take adds an event: of a stream, or of a socket.
  take(type: string, data: any, id = '') {
    if (id) {
      if (this.lastEvent && !later(id, this.lastEvent)) return
      this.lastEvent = id
    }
    switch (type) {
      case 'status': this.status(data); break
      case 'stream': this.text(data.stream, data.text); break
      case 'display':
      case 'result': this.value(data); break
      case 'clear': this.clear(data.wait); break
      case 'error': this.clearIfDue(); this.items.push({ kind: 'error', error: data }); break
      case 'input_request': this.question.value = { request: data.request, prompt: data.prompt }; break
      case 'gap': this.items.push({ kind: 'note', text: `${data.bytes} bytes of output are missing here: they came faster than they could be sent.` }); break
    }
    this.touched()
  }

  fail(words: string) {
    if (this.over) return
    this.items.push({ kind: 'note', text: words })
    this.finish({ state: 'failed', failure: { code: 'unknown', message: words } })
  }

  private finish(o: Outcome) {
    this.question.value = null
    this.outcome.value = o
    this.state.value = o.state
    this.touched()
  }

  private status(data: any) {
    if (isFinal(data.state)) {
      const shown = this.items.some((i) => i.kind === 'error')
      if (!shown && data.error) this.items.push({ kind: 'error', error: data.error })
      if (data.failure) this.items.push({ kind: 'note', text: data.failure.message })
      for (const n of data.notices ?? []) this.items.push({ kind: 'note', text: n.message })
      this.finish(data)
      return
    }
    if (data.state === 'running' && data.attempt > 1) this.items = [{ kind: 'note', text: `The runner was lost; this is attempt ${data.attempt}.` }]
    this.state.value = data.state
  }

  private text(stream: string, text: string) {
    this.clearIfDue()
    const last = this.items.at(-1)
    if (this.question.value && stream === 'stdout' && last) this.question.value = { ...this.question.value }
    let item = last?.kind === 'text' && last.stream === stream ? last : undefined
    if (!item) {
      item = { kind: 'text', stream, screen: new Screen(), version: 0 }
      this.items.push(item)
    }
    item.screen.write(text)
    item.version++
  }

  private value(data: Value) {
    if (data.update && data.displayId) {
      const at = this.items.findIndex((i) => i.kind === 'value' && i.value.displayId === data.displayId)
      if (at >= 0) {
        this.items[at] = { kind: 'value', value: data }
        return
      }
    }
    this.clearIfDue()
    const values = this.items.filter((i) => i.kind === 'value').length
    if (values === mostValues) this.note(`Further values are not shown: this page shows ${mostValues} of an execution. The job has more.`)
    if (values < mostValues) this.items.push({ kind: 'value', value: data })
  }

  private clear(wait: boolean) {
    if (wait) this.clearNext = true
    else this.items = []
  }

  private clearIfDue() {
    if (!this.clearNext) return
    this.clearNext = false
    this.items = []
  }

  // output is all text that is kept, for a copy or a download.
  output(): string {
    return this.items.map((i) => i.kind === 'text' ? i.screen.text() : i.kind === 'error' ? i.error.traceback : i.kind === 'value' ? String(i.value.data['text/plain'] ?? '') + '\n' : '').join('')
  }
}

// later compares ids of events: two numbers, of which the second may have 64 bits.
export function later(a: string, b: string): boolean {
  const [a1 = '0', a2 = '0'] = a.split('-'), [b1 = '0', b2 = '0'] = b.split('-')
  if (a1 !== b1) return Number(a1) > Number(b1)
  return BigInt(a2) > BigInt(b2)
}
