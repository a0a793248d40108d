// A workspace is a tab of the playground: a program, its settings, a session if it has one, and the runs.
import { signal } from '@preact/signals'
import { call, get, post, Problem, remove, socket, wordsOf } from '../api'
import { follow, isFinal } from '../events'
import { complain, tell } from '../ui/toast'
import { Run } from './run'
import { bodyOf, ofInterpreter, ofRun, usual, type Dropped, type Settings } from './settings'

export interface Checkpoint { id: string; parent: string; name: string; at: string }

// KeptRun is what a reload leaves of a run; Kaa has the rest.
export interface KeptRun { jobId: string; code: string; once: boolean }

const mostRuns = 50
let count = 0

export class Workspace {
  readonly id = `w${Date.now().toString(36)}${++count}`
  readonly title = signal('')
  readonly code = signal('')
  readonly settings = signal<Settings>({ ...usual })
  readonly session = signal('')
  readonly connected = signal(false)
  readonly runs = signal<Run[]>([])
  readonly checkpoints = signal<Checkpoint[]>([])
  readonly at = signal('') // the checkpoint from which the present state comes
  readonly dropped = signal<Dropped[]>([]) // files for runs without a session
  readonly files = signal(0) // moved on when files of the session may have changed
  private ws: WebSocket | null = null
  private opening: Promise<void> | null = null // of ws
  private beginning: Promise<void> | null = null // of the session
  private stopped = false
  private waitFor = 0
  private single = new AbortController() // of all streams of runs

  constructor(title: string) { this.title.value = title }

  // active is the run that keeps another one from beginning.
  get active(): Run | undefined { return this.runs.value.find((r) => !r.over && !r.past.value) }

  async run(code: string) {
    const run = new Run(code)
    this.runs.value = [...this.runs.value.slice(-mostRuns + 1), run]
    try {
      if (this.settings.value.mode === 'session') await this.runInSession(run)
      else await this.runOnce(run)
    } catch (err) {
      run.fail(wordsOf(err))
    }
  }

  // body is what a call of the API has for a run without a session.
  body(code: string): Promise<Record<string, unknown>> { return bodyOf(code, this.settings.value, this.dropped.value) }

  private async runOnce(run: Run) {
    run.once = true
    const job = await post<{ id: string; state: string }>('/v1/jobs', { ...(await this.body(run.code)), events: true, maxAttempts: 1 })
    run.jobId = job.id
    run.state.value = job.state
    run.streamed = true
    await follow(`/v1/jobs/${job.id}/events`, (e) => run.take(e.type, e.data, e.id), '', this.single.signal)
    if (!run.over) run.fail('The events of this job have ended without its end. It may have expired.')
    const asked = run.items.some((i) => i.kind === 'error' && i.error.name === 'EOFError')
    if (asked) run.note('The program asked for input. Run it in a session to answer, or give the input in the settings.')
  }

  // resume shows again what ran before the page was loaded anew. All events of it that are kept come once more.
  resume({ jobId, code, once }: KeptRun) {
    const run = new Run(code)
    run.jobId = jobId
    run.once = once
    run.state.value = 'loading'
    run.streamed = true
    run.past.value = true
    get<{ state: string }>(`/v1/jobs/${jobId}`).then((j) => { run.past.value = isFinal(j.state) }, () => {}) // the stream says what is wrong
    this.runs.value = [...this.runs.value, run]
    follow(`/v1/jobs/${jobId}/events`, (e) => run.take(e.type, e.data, e.id), '', this.single.signal).then(() => {
      if (!run.over) run.fail('The end of this execution is not known any more.')
      this.files.value++
    }, (err) => {
      if (err instanceof Problem && (err.status === 404 || err.status === 410)) this.runs.value = this.runs.value.filter((r) => r !== run)
      else run.fail(wordsOf(err))
    })
  }

  private async runInSession(run: Run) {
    if (!this.session.value) await this.open()
    await this.connect()
    run.sent = true
    this.ws!.send(JSON.stringify({ type: 'execute', id: run.id, code: run.code, ...ofRun(this.settings.value) }))
  }

  // open opens the session. Its files and variables stay until it ends. Who asks meanwhile gets the same one.
  open(): Promise<void> {
    this.beginning ??= this.begin().finally(() => { this.beginning = null })
    return this.beginning
  }

  private async begin() {
    const s = await post<{ id: string }>('/v1/sessions', { ...ofInterpreter(this.settings.value), idleTimeout: 1800, metadata: { openedBy: 'console' } })
    this.adopt(s.id)
    for (const f of this.dropped.value) await call('PUT', `/v1/sessions/${s.id}/fs/content`, { query: { path: f.path }, raw: f.content, type: 'application/octet-stream' })
    this.dropped.value = []
  }

  adopt(session: string) {
    this.session.value = session
    this.checkpoints.value = []
    this.at.value = ''
    this.stopped = false
  }

  // connect returns once the socket of the session is open. There is one at a time.
  connect(): Promise<void> {
    if (this.ws && this.opening && this.ws.readyState <= WebSocket.OPEN) return this.opening
    const session = this.session.value
    const ws = socket(`/v1/sessions/${session}/ws`)
    const present = () => this.ws === ws // another one may have taken its place, and then it says nothing about the session of this workspace
    this.ws = ws
    this.opening = new Promise((done, refused) => {
      ws.onopen = () => {
        if (!present()) return
        this.connected.value = true
        this.waitFor = 0
        done()
        for (const run of this.runs.value) this.catchUp(run)
      }
      ws.onmessage = (e) => { if (present() && typeof e.data === 'string') this.frame(JSON.parse(e.data)) }
      ws.onclose = () => {
        const closed = new Problem(0, 'unreachable', 'The connection to the session was closed. Try again.')
        if (!present()) {
          refused(closed)
          return
        }
        this.connected.value = false
        this.ws = this.opening = null
        this.unconfirmed()
        // Why a socket is refused is not told to scripts, but it is to a call.
        get(`/v1/sessions/${session}`).then((s: any) => {
          if (s.state === 'ended') this.ended(session, s.message ?? 'The session has ended.')
          else this.again(session)
          refused(closed)
        }, (err) => {
          if (err instanceof Problem && (err.status === 404 || err.status === 410)) this.ended(session, err.message)
          else this.again(session)
          refused(err)
        })
      }
    })
    return this.opening
  }

  // unconfirmed ends what was sent over a connection that is gone, and of which nothing came back: whether it runs is not known.
  private unconfirmed() {
    for (const run of this.runs.value) {
      if (run.sent && !run.over && !run.jobId) run.fail('The connection was cut before Kaa had confirmed this program. It may have run: look at what it does, or run it again.')
    }
  }

  // again connects once more after a while, as long as something is open.
  private again(session: string) {
    if (this.stopped || this.session.value !== session || this.ws) return
    this.waitFor = Math.min(5000, this.waitFor ? this.waitFor * 2 : 250)
    setTimeout(() => {
      if (!this.stopped && this.session.value === session && !this.ws) this.connect().catch(() => {})
    }, this.waitFor)
  }

  // catchUp gets what a run did while the connection was cut.
  private catchUp(run: Run) {
    if (run.over || run.streamed || run.state.value === 'sending' && !run.jobId) return
    run.streamed = true
    follow(`/v1/jobs/${run.jobId}/events`, (e) => run.take(e.type, e.data, e.id), run.lastEvent, this.single.signal).then(() => {
      if (!run.over) run.fail('The end of this execution is not known any more.')
      this.files.value++
    }, (err) => run.fail(wordsOf(err)))
  }

  private frame(f: any) {
    if (f.type === 'session') {
      this.ended(this.session.value, f.message ?? 'The session has ended.')
      return
    }
    const run = this.runs.value.find((r) => f.id === r.id || f.jobId && f.jobId === r.jobId)
    if (!run) return
    if (f.jobId && !run.jobId) run.jobId = f.jobId
    if (f.type === 'error' && f.code !== undefined) {
      if (f.resumable) this.catchUp(run)
      else if (!run.jobId || run.state.value === 'sending') run.fail(f.detail)
      else complain(new Error(f.detail))
      return
    }
    if (f.type === 'interrupt' || f.type === 'pong') return
    if (run.streamed) return // its stream has all of it, in order; a frame that came before would hide what it skips
    run.take(f.type, f, f.eventId)
    if (run.over) this.files.value++
  }

  private ended(session: string, why: string) {
    if (!session || this.session.value !== session) return // another one has begun meanwhile
    this.session.value = ''
    this.checkpoints.value = []
    this.leave()
    for (const run of this.runs.value) if (!run.over && !run.streamed) run.fail(why) // a stream of its own says how it has ended
    tell(`${why.replace(/\.$/, '')}. The next run opens a new session.`)
  }

  // leave closes the socket, and hears nothing more of it.
  private leave() {
    const { ws } = this
    this.ws = this.opening = null
    this.connected.value = false
    ws?.close()
  }

  answer(run: Run, text: string, eof = false) {
    const q = run.question.value
    if (!q) return
    if (this.ws?.readyState !== WebSocket.OPEN) {
      complain(new Error('The session is not connected now. Send the answer again in a moment.'))
      return
    }
    this.ws.send(JSON.stringify({ type: 'input', jobId: run.jobId, request: q.request, ...(eof ? { eof: true } : { text }) }))
    run.question.value = null
  }

  async interrupt() {
    const run = this.active
    if (!run) return
    try {
      if (this.session.value && !run.once) await post(`/v1/sessions/${this.session.value}/interrupt`)
      else if (run.jobId) await remove(`/v1/jobs/${run.jobId}`)
    } catch (err) {
      if (!(err instanceof Problem && err.status === 409)) complain(err)
    }
  }

  async restart() {
    if (!this.session.value) return
    await this.interrupt()
    await post(`/v1/sessions/${this.session.value}/restart`)
    this.files.value++
    tell('The session has a fresh interpreter')
  }

  async checkpoint(name: string) {
    const c = await post<{ checkpointId: string }>(`/v1/sessions/${this.session.value}/checkpoint`)
    this.checkpoints.value = [...this.checkpoints.value, { id: c.checkpointId, parent: this.at.value, name, at: new Date().toISOString() }]
    this.at.value = c.checkpointId
  }

  async rollback(id: string) {
    await post(`/v1/sessions/${this.session.value}/rollback`, { checkpointId: id })
    this.at.value = id
    this.files.value++
    tell('The session is in the state of the checkpoint')
  }

  // fork returns a workspace with a copy of the session and of the program.
  async fork(title: string): Promise<Workspace> {
    const made = await post<{ sessions: { id: string }[] }>(`/v1/sessions/${this.session.value}/fork`, { count: 1 })
    const w = new Workspace(title)
    w.code.value = this.code.value
    w.settings.value = { ...this.settings.value }
    w.adopt(made.sessions[0]!.id)
    return w
  }

  // close ends the session, whose variables nobody can reach any more.
  close() {
    this.stopped = true
    this.single.abort()
    this.single = new AbortController()
    this.leave()
    const session = this.session.value
    this.session.value = ''
    for (const run of this.runs.value) if (!run.over) run.fail('Its session was ended.')
    if (session) remove(`/v1/sessions/${session}`).catch(() => {})
  }

  // newSession ends the present one, so that the next run opens one with the present settings.
  newSession() {
    this.close()
    this.stopped = false
    this.checkpoints.value = []
    this.at.value = ''
    this.files.value++
  }
}
