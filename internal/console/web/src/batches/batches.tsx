// Batches: their progress, and what failed first.
import { useEffect, useRef, useState } from 'preact/hooks'
import { fetched, get, may, post, Problem, remove } from '../api'
import { events } from '../events'
import { go, href, route } from '../router'
import { Busy, Button, Empty, ErrorNote, icons, State } from '../ui/basics'
import { Ago, bytes, duration, number } from '../ui/format'
import { useLoad } from '../ui/load'
import { Table } from '../ui/table'
import { complain, tell } from '../ui/toast'

interface Counts {
  waiting: number; running: number; completed: number; cancelled: number; failed: number; refused: number
  ok: number; error: number; interrupted: number; exit: number
}

interface Batch {
  id: string
  name?: string
  state: string
  received: { lines: number; jobs: number }
  jobs: Counts
  rate?: number
  estimatedEnd?: string
  createdAt: string
  finishedAt?: string
  refusals?: { line: number; index: number; message: string }[]
  failure?: { code: string; message: string }
  keepLines?: boolean
  rerunOf?: string
  archive?: { state: string; bytes?: number; error?: string }
}

interface Line {
  index?: number
  jobId?: string
  state?: string
  status?: string
  result?: { error?: { name: string; value: string }; exitCode?: number; stderr?: string }
  failure?: { code: string; message: string }
  error?: string
  line?: number
  expired?: boolean
  cursor?: string
  end?: string
}

const terminal = (s: string) => s === 'completed' || s === 'cancelled' || s === 'failed'
const bad = (c: Counts) => c.failed + c.error + c.exit + c.interrupted + c.refused
const ended = (c: Counts) => c.completed + c.cancelled + c.failed + c.refused

export default function Batches() {
  const id = route.value.rest[0]
  return id ? <BatchPage key={id} id={id} /> : <BatchList />
}

function BatchList() {
  const [cursors, setCursors] = useState<string[]>([])
  const cursor = cursors.at(-1)
  const list = useLoad((signal) => get<{ batches: Batch[]; nextCursor?: string }>('/v1/batches', { limit: 50, cursor }, signal), [cursor], 3000)
  return (
    <section aria-labelledby="batches-title">
      <h1 id="batches-title">Batches</h1>
      {list.error !== null && <ErrorNote error={list.error} retry={list.reload} />}
      {!list.data ? list.error === null && <Busy label="Loading batches" /> : (
        <Table caption="Batches, the newest first" id={(b) => b.id} rows={list.data.batches}
          empty={<Empty title="No batches">Submit a file with a job on each line: <code>kaa batches submit FILE</code>.</Empty>}
          columns={[
            { title: 'Batch', cell: (b) => <a href={href('batches', [b.id])}>{b.name || <code>{b.id.slice(0, 13)}…</code>}</a>, wide: true },
            { title: 'State', cell: (b) => <State value={b.state} /> }, { title: 'Progress', cell: (b) => <Progress b={b} /> },
            { title: 'Failed', cell: (b) => (bad(b.jobs) ? <b class="wrong">{number(bad(b.jobs))}</b> : '0'), end: true },
            { title: 'Jobs', cell: (b) => number(b.received.jobs), end: true }, { title: 'Came', cell: (b) => <Ago time={b.createdAt} /> },
          ]} />
      )}
      <div class="row">
        {cursors.length > 0 && <Button onClick={() => setCursors(cursors.slice(0, -1))}>Newer</Button>}
        {list.data?.nextCursor && <Button onClick={() => setCursors([...cursors, list.data!.nextCursor!])}>Older</Button>}
      </div>
    </section>
  )
}

function Progress({ b, large }: { b: Batch; large?: boolean }) {
  const all = Math.max(1, b.received.jobs)
  const c = b.jobs
  const parts: [string, number][] = [['bad', bad(c)], ['warn', c.cancelled], ['good', c.ok], ['live', c.running]]
  let x = 0
  const percent = Math.floor(ended(c) / all * 100)
  return (
    <div class={large ? 'progress large' : 'progress'} role="img" aria-label={`${percent} percent have ended, ${number(bad(c))} of them not well`}>
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width="100" height="8" class="progress-rest" />
        {parts.map(([tone, n]) => {
          const width = n / all * 100
          const part = <rect key={tone} x={x} width={width} height="8" class={`progress-${tone}`} />
          x += width
          return part
        })}
      </svg>
      <span>{percent} %</span>
    </div>
  )
}

function BatchPage({ id }: { id: string }) {
  const [b, setBatch] = useState<Batch | null>(null)
  const [error, setError] = useState<unknown>(null)
  const again = useRef(0)
  const [run, setRun] = useState(0)
  useEffect(() => {
    const over = new AbortController()
    const load = async () => {
      try {
        const first = await get<Batch>(`/v1/batches/${encodeURIComponent(id)}`, {}, over.signal)
        setBatch(first)
        setError(null)
        if (terminal(first.state)) return
        let done = false
        await events(`/v1/batches/${encodeURIComponent(id)}/events`, { signal: over.signal }, (e) => {
          if (e.type === 'error') return
          done = e.type === 'end'
          setBatch((old) => ({ ...e.data, refusals: e.data.refusals ?? old?.refusals }))
        })
        if (done) return
      } catch (err) {
        if (over.signal.aborted) return
        setError(err)
        if (err instanceof Problem && (err.status === 404 || err.status === 410)) return
      }
      again.current = window.setTimeout(() => void load(), 2000)
    }
    void load()
    return () => { over.abort(); clearTimeout(again.current) }
  }, [id, run])
  const reload = () => setRun((n) => n + 1)
  if (!b) return error === null ? <Busy label="Loading the batch" /> : <><ErrorNote error={error} retry={reload} /><p><a href={href('batches')}>All batches</a></p></>
  const c = b.jobs
  const count = (name: string, n: number, tone: string) => <li><b class={`tone-${n ? tone : 'off'}`}>{number(n)}</b> {name}</li>
  return (
    <article aria-labelledby="batch-title">
      <p><a href={href('batches')}>All batches</a></p>
      <div class="row head">
        <h1 id="batch-title">{b.name || 'Batch'} <code class="hint">{b.id}</code></h1><State value={b.state} /><span class="grow" />
        {!terminal(b.state) && may('execute') && <Button kind="danger" icon={icons.stop} onClick={() => remove(`/v1/batches/${encodeURIComponent(id)}`).then(() => { tell('The batch is being cancelled'); reload() }, complain)}>Cancel</Button>}
        {terminal(b.state) && b.keepLines && bad(c) > 0 && may('execute') && (
          <Button icon={icons.play} onClick={() => post<Batch>(`/v1/batches/${encodeURIComponent(id)}/rerun`, { status: ['error', 'exit', 'interrupted'], state: ['failed'] }).then((made) => { tell('What failed runs again as a new batch'); go('batches', [made.id]) }, complain)}>Run what failed again</Button>
        )}
      </div>
      {error !== null && <ErrorNote error={error} retry={reload} />}
      {b.failure && <p class="verdict bad" role="alert">{b.failure.message}</p>}
      <Progress b={b} large />
      <ul class="counts" aria-live="off">
        {count('ok', c.ok, 'good')}{count('ended with an error', c.error, 'bad')}{count('exited', c.exit, 'bad')}{count('interrupted', c.interrupted, 'bad')}
        {count('failed', c.failed, 'bad')}{count('refused', c.refused, 'bad')}{count('cancelled', c.cancelled, 'warn')}{count('running', c.running, 'live')}{count('waiting', c.waiting, 'off')}
      </ul>
      <p class="hint">{number(b.received.jobs)} jobs came <Ago time={b.createdAt} />.
        {b.finishedAt ? ` It took ${duration(new Date(b.finishedAt).getTime() - new Date(b.createdAt).getTime())}.` : b.rate ? ` ${b.rate.toFixed(1)} end a second.` : ''}
        {!b.finishedAt && b.estimatedEnd && <> The last ends <Ago time={b.estimatedEnd} /> at this rate.</>}
        {b.archive && ` Archive: ${b.archive.state}${b.archive.bytes ? `, ${bytes(b.archive.bytes)}` : ''}${b.archive.error ? `, ${b.archive.error}` : ''}.`}
        {b.rerunOf && <> It runs jobs of <a href={href('batches', [b.rerunOf])}>another batch</a> again.</>}</p>
      <Results id={id} failures={bad(c)} over={terminal(b.state)} />
    </article>
  )
}

// most is how many results a page shows.
const most = 200

// Results shows what failed, or all that have ended. It reads lines until it has enough and then leaves.
function Results({ id, failures, over }: { id: string; failures: number; over: boolean }) {
  const [which, setWhich] = useState<'bad' | 'all'>('bad')
  const [lines, setLines] = useState<Line[]>([])
  const [more, setMore] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const read = async (cursor: string, signal: AbortSignal) => {
    setBusy(true)
    const got: Line[] = []
    const query = which === 'bad' ? { status: 'error,exit,interrupted', state: 'failed,refused' } : {}
    try {
      const res = await fetched('GET', `/v1/batches/${encodeURIComponent(id)}/results`, { query: { order: 'completion', cursor, ...query }, signal })
      const reader = res.body!.pipeThrough(new TextDecoderStream()).getReader()
      let rest = '', next: string | null = null
      for (let done = false; !done;) {
        const part = await reader.read()
        rest += part.value ?? ''
        const all = rest.split('\n')
        rest = all.pop()!
        for (const text of all) {
          if (!text.trim()) continue
          const line = JSON.parse(text) as Line
          if (line.end) { done = true; next = null; break }
          got.push(line)
          if (got.length >= most) { done = true; next = line.cursor ?? null; break }
        }
        done ||= part.done
      }
      await reader.cancel().catch(() => {})
      if (signal.aborted) return
      setLines((old) => (cursor ? [...old, ...got] : got))
      setMore(next)
      setError(null)
    } catch (err) {
      if (!signal.aborted) setError(err)
    } finally {
      if (!signal.aborted) setBusy(false)
    }
  }
  const leave = useRef(new AbortController())
  // While the batch goes on, failures are read again when there are more of them; those of a page at most.
  const step = which === 'bad' ? Math.min(failures, most) : 0
  useEffect(() => {
    leave.current = new AbortController()
    void read('', leave.current.signal)
    return () => leave.current.abort()
  }, [id, which, step, over])
  return (
    <section aria-labelledby="results-title">
      <div class="row head"><h2 id="results-title" class="grow">{which === 'bad' ? 'What failed' : 'All that have ended'}</h2>
        <Button aria-pressed={which === 'bad'} onClick={() => setWhich('bad')}>What failed</Button><Button aria-pressed={which === 'all'} onClick={() => setWhich('all')}>All</Button></div>
      {error !== null && <ErrorNote error={error} />}
      <Table caption="Results of the batch" id={(l) => `${l.index}`} rows={lines} empty={busy ? <Busy label="Reading results" /> : <p class="hint">{which === 'bad' ? 'Nothing has failed.' : 'No job has ended yet.'}</p>}
        columns={[
          { title: 'Number', cell: (l) => (l.jobId ? <a href={href('jobs', [l.jobId])}>{number(l.index)}</a> : number(l.index)), end: true },
          { title: 'State', cell: (l) => <><State value={l.state ?? ''} />{l.status && l.status !== 'ok' && <> <State value={l.status} /></>}</> },
          { title: 'Why', cell: (l) => whyOf(l), wide: true },
        ]} />
      {more && <Button busy={busy} onClick={() => void read(more, leave.current.signal)}>More</Button>}
    </section>
  )
}

function whyOf(l: Line): string {
  if (l.failure) return l.failure.message
  if (l.error) return `line ${l.line}: ${l.error}`
  const r = l.result
  if (r?.error) return `${r.error.name}: ${r.error.value}`.slice(0, 400)
  if (l.expired) return 'Its record has expired.'
  return r?.exitCode ? `exit code ${r.exitCode}` : ''
}
