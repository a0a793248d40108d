// An execution of a program as the page shows it: its events become items.
import { signal } from '@preact/signals'
import { isFinal } from '../events'
import { mostCharacters, mostLines, nothing, saidOf, Screen } from './ansi'
import { bytes, number } from '../ui/format'

export interface Value {
  main?: boolean
  data: Record<string, unknown>
  displayId?: string
  update?: boolean
  truncated?: { rows?: { shown: number; total: number } }
  omitted?: Record<string, number>
}

export interface Failure { name: string; value: string; traceback: string }

export type Item =
  | { kind: 'text'; id: number; stream: string; screen: Screen; version: number }
  | { kind: 'value'; id: number; value: Value }
  | { kind: 'error'; id: number; error: Failure }
  | { kind: 'note'; id: number; text: string }
  | { kind: 'large'; id: number; bytes: number } // a value that was too large to be sent while the code ran

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
const mostOfValues = 64 << 20 // characters of all values
const mostLarge = 20
const mostTexts = 400
let count = 0
let items = 0

const sizeOf = (v: Value): number => Object.values(v.data).reduce((sum: number, d) => sum + (typeof d === 'string' ? d : JSON.stringify(d) ?? '').length, 0)

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
  once = false // it has no session
  readonly past = signal(false) // it is shown again, and nobody knows yet that it runs
  private timer = 0
  private characters = 0 // of all text
  private lines = 0
  private texts = 0
  private ofValues = 0
  private withoutValues = 0
  private large = 0
  private lost = nothing() // with texts that are not kept

  constructor(code: string) { this.code = code }

  get over(): boolean { return this.outcome.value !== null }

  touched() {
    if (!this.timer) this.timer = window.setTimeout(() => { this.timer = 0; this.version.value++ }, 33)
  }

  note(text: string) {
    this.items.push({ kind: 'note', id: ++items, text })
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
      case 'error': this.clearIfDue(); this.items.push({ kind: 'error', id: ++items, error: data }); break
      case 'input_request': this.question.value = { request: data.request, prompt: data.prompt }; break
      case 'gap': this.gap(data); break
    }
    this.touched()
  }

  fail(words: string) {
    if (this.over) return
    this.note(words)
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
      if (!shown && data.error) this.items.push({ kind: 'error', id: ++items, error: data.error })
      if (data.failure) this.note(data.failure.message)
      for (const n of data.notices ?? []) this.note(n.message)
      this.finish(data)
      return
    }
    if (data.state === 'running' && data.attempt > 1) {
      this.empty()
      this.note(`The runner was lost; this is attempt ${data.attempt}.`)
    }
    this.state.value = data.state
  }

  private text(stream: string, text: string) {
    this.clearIfDue()
    if (this.question.value && stream === 'stdout' && this.items.length > 0) this.question.value = { ...this.question.value }
    this.change(this.textOf(stream), (screen) => screen.write(text))
  }

  // textOf is where text of a stream goes: to the last item, or to a new one.
  private textOf(stream: string): Item & { kind: 'text' } {
    const last = this.items.at(-1)
    if (last?.kind === 'text' && last.stream === stream) return last
    const item = { kind: 'text' as const, id: ++items, stream, screen: new Screen(), version: 0 }
    this.items.push(item)
    this.lines++
    this.texts++
    return item
  }

  private change(item: Item & { kind: 'text' }, f: (screen: Screen) => void) {
    const { screen } = item
    const characters = screen.characters, lines = screen.lines.length
    f(screen)
    this.characters += screen.characters - characters
    this.lines += screen.lines.length - lines
    item.version++
    this.bound()
  }

  // bound drops the oldest text of what would take too much memory, or too many elements of the page. The last text bounds itself.
  private bound() {
    if (this.characters <= mostCharacters && this.lines <= mostLines && this.texts <= mostTexts) return
    let texts = excess(this.texts, mostTexts), characters = excess(this.characters, mostCharacters), lines = excess(this.lines, mostLines)
    const last = this.items.at(-1)
    this.items = this.items.filter((item) => {
      if (item.kind !== 'text' || item === last || texts <= 0 && characters <= 0 && lines <= 0) return true
      const { screen } = item
      const had = { characters: screen.characters, lines: screen.lines.length }
      const all = texts > 0 || characters > 0 && had.characters <= characters || lines > 0 && had.lines <= lines
      if (all) {
        texts--
        this.texts--
        screen.shed(Infinity, Infinity)
        for (const k of ['lines', 'characters', 'missing'] as const) this.lost[k] += screen.lost[k]
      } else {
        screen.shed(characters, lines)
        item.version++
      }
      const left = all ? { characters: 0, lines: 0 } : { characters: screen.characters, lines: screen.lines.length }
      characters -= had.characters - left.characters
      lines -= had.lines - left.lines
      this.characters -= had.characters - left.characters
      this.lines -= had.lines - left.lines
      return !all
    })
  }

  // gap says what is missing, where it is missing. One event that was too large is a value nearly always, and the job has it.
  private gap(data: { bytes: number; event?: string }) {
    if (data.event === 'display' || data.event === 'result') {
      this.clearIfDue()
      if (this.large === mostLarge) {
        this.withoutValues++
        return
      }
      this.items.push({ kind: 'large', id: ++items, bytes: data.bytes })
      this.large++
      return
    }
    if (data.event) {
      this.note(`Something of ${bytes(data.bytes)} (${data.event}) was too large to be sent while the program ran. The page of the job has it.`)
      return
    }
    const last = this.items.at(-1)
    this.change(this.textOf(last?.kind === 'text' ? last.stream : 'stdout'), (screen) => screen.miss(data.bytes))
  }

  private value(data: Value) {
    if (data.update && data.displayId) {
      const at = this.items.findIndex((i) => i.kind === 'value' && i.value.displayId === data.displayId)
      const old = this.items[at]
      if (old?.kind === 'value') {
        const more = sizeOf(data) - sizeOf(old.value)
        if (more > 0 && this.ofValues + more > mostOfValues) {
          this.withoutValues++
          return
        }
        this.ofValues += more
        this.items[at] = { kind: 'value', id: old.id, value: data }
        return
      }
    }
    this.clearIfDue()
    const size = sizeOf(data)
    const full = this.ofValues + size > mostOfValues || this.items.filter((i) => i.kind === 'value').length >= mostValues
    if (full) {
      this.withoutValues++
      return
    }
    this.ofValues += size
    this.items.push({ kind: 'value', id: ++items, value: data })
  }

  private clear(wait: boolean) {
    if (wait) this.clearNext = true
    else this.empty()
  }

  private clearIfDue() {
    if (!this.clearNext) return
    this.clearNext = false
    this.empty()
  }

  private empty() {
    this.items = []
    this.characters = this.lines = this.texts = this.ofValues = this.withoutValues = this.large = 0
    this.lost = nothing()
  }

  // losses says what is not kept of this execution on the page.
  losses(): string[] {
    return [
      ...saidOf(this.lost),
      ...(this.withoutValues > 0 ? [`${number(this.withoutValues)} values are not shown: this page shows ${mostValues} of an execution, and ${bytes(mostOfValues)} of them. The result of the job has those for which it has room.`] : []),
    ]
  }

  // output is all text that is kept, for a copy or a download. It says what is missing.
  output(): string {
    const said = (all: string[]) => all.map((w) => `[${w}]\n`).join('')
    return said(this.losses()) + this.items.map((i) => {
      switch (i.kind) {
        case 'text': return said(i.screen.losses()) + i.screen.text()
        case 'error': return i.error.traceback
        case 'value': return String(i.value.data['text/plain'] ?? '') + '\n'
        case 'large': return `[A value of ${bytes(i.bytes)} is not here.]\n`
        default: return ''
      }
    }).join('')
  }
}

// excess is what has to go of too much, with a tenth, so that it need not go each time.
const excess = (n: number, most: number) => n > most ? n - Math.floor(most * 0.9) : 0

// later compares ids of events: two numbers, of which the second may have 64 bits.
export function later(a: string, b: string): boolean {
  const [a1 = '0', a2 = '0'] = a.split('-'), [b1 = '0', b2 = '0'] = b.split('-')
  if (a1 !== b1) return Number(a1) > Number(b1)
  return BigInt(a2) > BigInt(b2)
}
