// Queues, runners, sessions, and the last hour of them.
import { useState } from 'preact/hooks'
import { get, may, post, Problem, remove } from '../api'
import { go, href, route } from '../router'
import { Busy, Button, Empty, ErrorNote, State } from '../ui/basics'
import { Chart, type Series } from '../ui/chart'
import { Ago, bytes, duration, number } from '../ui/format'
import { useLoad } from '../ui/load'
import { Table } from '../ui/table'
import { Tabs } from '../ui/tabs'
import { complain, tell } from '../ui/toast'

interface Queue { name: string; depth: number; active: number; scheduled: number; oldestAge: number; paused: boolean; pausedAt?: string }
interface Layer { name: string; holds: boolean; detail?: string; advice?: string }
interface Runner {
  id: string; host: string; pid: number; version: string; startedAt: string; concurrency: number; active: number; queues: string[]; python: string
  runtimes: { name: string; version: string; sick?: string }[]; sandbox: string; sandboxLayers: Layer[]; memoryControl: string; parked: number; memoryBytes?: number; memoryLimitBytes?: number
  sessions: number; maxSessions: number; draining: boolean; drained?: boolean; sick?: string
}
interface Session { id: string; name?: string; owner?: string; state: string; runner: string; runtime: string; createdAt: string; lastUsedAt: string; expiresAt?: string; waiting: number; memoryBytes?: number; metadata?: Record<string, unknown> }
interface QueueSample { name: string; depth: number; active: number; oldestAge: number; accepted: number; ended: number; failed: number; waitedMs: number; tookMs: number }
export interface Sample { at: string; fleet?: { runners: number; slots: number; busy: number; parked: number; sessions: number; memoryBytes: number; memoryLimitBytes: number }; queues: QueueSample[] }
interface History { seconds: number; samples: Sample[] }

const tabs = [{ id: 'hour', title: 'Last hour' }, { id: 'queues', title: 'Queues' }, { id: 'runners', title: 'Runners' }, { id: 'sessions', title: 'Sessions' }]

export default function Fleet() {
  // A tenant's key sees its queues and sessions; runners and the last hour are the operator's.
  const [watches, setWatches] = useState(true)
  const offered = tabs.filter((t) => watches || t.id === 'queues' || t.id === 'sessions')
  const asked = route.value.rest[0]
  const chosen = offered.find((t) => t.id === asked)?.id ?? offered[0]!.id
  const forbidden = () => setWatches(false)
  return (
    <section aria-labelledby="fleet-title">
      <h1 id="fleet-title">Fleet</h1>
      <Tabs label="Parts of the fleet" tabs={offered} chosen={chosen} onChoose={(id) => go('fleet', [id])}>
        {chosen === 'hour' ? <Hour forbidden={forbidden} /> : chosen === 'queues' ? <Queues watches={watches} forbidden={forbidden} /> : chosen === 'runners' ? <Runners /> : <Sessions />}
      </Tabs>
    </section>
  )
}

function useHistory(forbidden: () => void, every = 5000) {
  return useLoad(async (signal) => {
    try {
      return await get<History>('/v1/fleet/history', {}, signal)
    } catch (err) {
      if (err instanceof Problem && err.status === 403) forbidden()
      throw err
    }
  }, [], every)
}

// inOrder is a value for each time of the last hour; null where nothing was written.
export function inOrder(h: History, now: number, value: (s: Sample | undefined) => number | null): (number | null)[] {
  const width = h.seconds * 1000
  const by = new Map(h.samples.map((s) => [Math.floor(new Date(s.at).getTime() / width), s]))
  const last = Math.floor(now / width) - 1 // the present one is not complete
  const count = Math.round(3600e3 / width)
  return Array.from({ length: count }, (_, i) => value(by.get(last - count + 1 + i)))
}

function Hour({ forbidden }: { forbidden: () => void }) {
  const history = useHistory(forbidden)
  const h = history.data
  if (!h) return history.error !== null ? <ErrorNote error={history.error} retry={history.reload} /> : <Busy label="Loading the last hour" />
  const now = Date.now()
  const of = (name: string, value: (s: Sample | undefined) => number | null): Series => ({ name, points: inOrder(h, now, value) })
  const sum = (value: (q: QueueSample) => number) => (s: Sample | undefined) => (s?.queues ?? []).reduce((n, q) => n + value(q), 0)
  const mean = (value: (q: QueueSample) => number) => (s: Sample | undefined) => {
    const count = sum((q) => q.ended)(s)
    return count ? sum((q) => value(q) * q.ended)(s) / count : null
  }
  const rate = (value: (q: QueueSample) => number) => (s: Sample | undefined) => sum(value)(s) / h.seconds
  const fleet = (value: (f: NonNullable<Sample['fleet']>) => number) => (s: Sample | undefined) => (s?.fleet ? value(s.fleet) : null)
  return (
    <>
      {history.error !== null && <ErrorNote error={history.error} retry={history.reload} />}
      <div class="charts">
        <Chart label="Jobs a second" series={[of('in', rate((q) => q.accepted)), of('out', rate((q) => q.ended)), of('failed', rate((q) => q.failed))]} unit="/s" />
        <Chart label="Jobs that wait" series={[of('waiting', (s) => (s?.fleet ? sum((q) => q.depth)(s) : null))]} />
        <Chart label="Age of the oldest" series={[of('oldest', (s) => (s?.fleet ? Math.max(0, ...(s.queues ?? []).map((q) => q.oldestAge)) : null))]} unit=" s" />
        <Chart label="Wait for a runner, and run" series={[of('wait', mean((q) => q.waitedMs)), of('run', mean((q) => q.tookMs))]} unit=" ms" />
        <Chart label="Slots" series={[of('busy', fleet((f) => f.busy)), of('all', fleet((f) => f.slots)), of('parked', fleet((f) => f.parked))]} />
        <Chart label="Sessions and runners" series={[of('sessions', fleet((f) => f.sessions)), of('runners', fleet((f) => f.runners))]} />
        <Chart label="Memory where runners are" series={[of('used', fleet((f) => f.memoryBytes / 2 ** 30)), of('all', fleet((f) => f.memoryLimitBytes / 2 ** 30))]} unit=" GiB" />
      </div>
      <p class="hint">Each point is {h.seconds} seconds. The right end is now.{h.samples.some((s) => s.fleet) ? '' : ` A runner has put down none so far: the first one comes within ${h.seconds} seconds.`}</p>
    </>
  )
}

function Queues({ watches, forbidden }: { watches: boolean; forbidden: () => void }) {
  const list = useLoad((signal) => get<{ queues: Queue[] }>('/v1/queues', {}, signal), [], 1500)
  const history = useHistory(forbidden)
  const h = watches ? history.data : null
  const now = Date.now()
  const lately = (name: string, value: (q: QueueSample) => number): string => {
    if (!h) return '–'
    const last = inOrder(h, now, (s) => value(s?.queues.find((q) => q.name === name) ?? { ...nothing, name })).slice(-2)
    return (last.reduce<number>((n, p) => n + (p ?? 0), 0) / 2 / h.seconds).toFixed(1)
  }
  if (!list.data) return list.error !== null ? <ErrorNote error={list.error} retry={list.reload} /> : <Busy label="Loading queues" />
  const act = (q: Queue) => post(`/v1/queues/${encodeURIComponent(q.name)}/${q.paused ? 'resume' : 'pause'}`)
    .then(() => { tell(q.paused ? `${q.name} goes on` : `${q.name} is paused: no job of it begins`); list.reload() }, complain)
  return (
    <>
      {list.error !== null && <ErrorNote error={list.error} retry={list.reload} />}
      <Table caption="Queues" id={(q) => q.name} rows={list.data.queues.filter((q) => q.name !== 'operations')} columns={[
        { title: 'Queue', cell: (q) => <a href={href('jobs', [], { queue: q.name })}>{q.name}</a>, wide: true },
        { title: 'State', cell: (q) => (q.paused ? <State value="paused" /> : 'open') },
        { title: 'Waiting', cell: (q) => number(q.depth), end: true }, { title: 'Oldest waits', cell: (q) => (q.depth ? duration(q.oldestAge * 1000) : '–'), end: true },
        { title: 'Running', cell: (q) => number(q.active), end: true }, { title: 'Not due yet', cell: (q) => number(q.scheduled), end: true },
        { title: 'In /s', cell: (q) => lately(q.name, (s) => s.accepted), end: true }, { title: 'Out /s', cell: (q) => lately(q.name, (s) => s.ended), end: true },
        ...(may('admin') ? [{ title: 'Action', cell: (q: Queue) => <Button aria-label={`${q.paused ? 'Resume' : 'Pause'} the queue ${q.name}`} onClick={() => void act(q)}>{q.paused ? 'Resume' : 'Pause'}</Button> }] : []),
      ]} />
      {h && <p class="hint">Rates are those of the last minute.</p>}
    </>
  )
}

const nothing: QueueSample = { name: '', depth: 0, active: 0, oldestAge: 0, accepted: 0, ended: 0, failed: 0, waitedMs: 0, tookMs: 0 }

function Runners() {
  const list = useLoad((signal) => get<{ runners: Runner[] }>('/v1/runners', {}, signal), [], 2000)
  if (!list.data) return list.error !== null ? <ErrorNote error={list.error} retry={list.reload} /> : <Busy label="Loading runners" />
  return (
    <>
      {list.error !== null && <ErrorNote error={list.error} retry={list.reload} />}
      {list.data.runners.length === 0 && <Empty title="No runner is alive">Jobs wait until one is. Start one with <code>kaa dev</code> or the runner of your deployment.</Empty>}
      <div class="runners">{list.data.runners.map((r) => <RunnerCard key={r.id} r={r} reload={list.reload} />)}</div>
    </>
  )
}

function RunnerCard({ r, reload }: { r: Runner; reload: () => void }) {
  const state = r.sick ? 'failed' : r.drained ? 'paused' : r.draining ? 'ended' : r.active >= r.concurrency ? 'busy' : 'idle'
  const words = r.sick ? 'cannot start interpreters' : r.drained ? 'drained' : r.draining ? 'is stopping' : r.active >= r.concurrency ? 'all slots are busy' : 'takes jobs'
  const act = () => post(`/v1/runners/${encodeURIComponent(r.id)}/${r.drained ? 'resume' : 'drain'}`)
    .then(() => { tell(r.drained ? 'The runner takes jobs again' : 'The runner takes nothing new; its sessions end'); reload() }, complain)
  const [asked, setAsked] = useState(false)
  const weak = r.sandboxLayers.filter((l) => !l.holds)
  return (
    <article class="panel runner" aria-label={`Runner ${r.host}`}>
      <div class="row"><h2 class="grow">{r.host} <code class="hint">{r.pid}</code></h2><State value={state} /><span class="hint">{words}</span></div>
      {r.sick && <p class="verdict bad">{r.sick}</p>}
      <Meter label="Slots" used={r.active} all={r.concurrency} words={`${r.active} busy, ${Math.max(0, r.concurrency - r.active)} free`} />
      {r.memoryLimitBytes ? <Meter label="Memory" used={r.memoryBytes ?? 0} all={r.memoryLimitBytes} words={`${bytes(r.memoryBytes)} of ${bytes(r.memoryLimitBytes)}`} /> : null}
      <Meter label="Sessions" used={r.sessions} all={r.maxSessions} words={`${r.sessions} of ${r.maxSessions}`} />
      <dl class="facts">
        <dt>Parked workers</dt><dd>{number(r.parked)}</dd>
        <dt>Sandbox</dt><dd><b class={r.sandbox === 'strict' ? 'tone-good' : 'tone-bad'}>{r.sandbox}</b>, memory by {r.memoryControl}{weak.length ? `; ${weak.length} of ${r.sandboxLayers.length} layers do not hold` : `; all ${r.sandboxLayers.length} layers hold`}</dd>
        <dt>Queues</dt><dd>{r.queues.join(', ')}</dd>
        <dt>Runtimes</dt><dd>{r.runtimes.map((t) => `${t.name} (${t.version})${t.sick ? ': ' + t.sick : ''}`).join(', ')}</dd>
        <dt>Version</dt><dd>{r.version}, started <Ago time={r.startedAt} /></dd>
        <dt>Id</dt><dd><code>{r.id}</code></dd>
      </dl>
      <details><summary>Layers of the sandbox</summary>
        <ul class="layers">{r.sandboxLayers.map((l) => <li key={l.name}><State value={l.holds ? 'ok' : 'error'} /> <b>{l.name}</b> {l.detail}{l.advice && <em> {l.advice}</em>}</li>)}</ul>
      </details>
      {may('admin') && !(r.draining && !r.drained) && (r.drained || !asked
        ? <Button kind={r.drained ? 'plain' : 'danger'} aria-label={`${r.drained ? 'Resume' : 'Drain'} the runner ${r.host}`} onClick={() => { if (r.drained) void act(); else setAsked(true) }}>{r.drained ? 'Resume' : 'Drain'}</Button>
        : <div class="row"><Button kind="danger" onClick={() => { setAsked(false); void act() }}>{r.sessions ? `Drain it and end its ${number(r.sessions)} sessions` : 'Drain it'}</Button><Button onClick={() => setAsked(false)}>Leave it</Button></div>)}
    </article>
  )
}

function Meter({ label, used, all, words }: { label: string; used: number; all: number; words: string }) {
  return (
    <div class="meter"><span>{label}</span>
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect width="100" height="6" class="progress-rest" /><rect width={all > 0 ? Math.min(100, used / all * 100) : 0} height="6" class={all > 0 && used / all > 0.9 ? 'progress-warn' : 'progress-good'} /></svg>
      <span>{words}</span></div>
  )
}

function Sessions() {
  const [cursors, setCursors] = useState<string[]>([])
  const [state, setState] = useState('')
  const cursor = cursors.at(-1)
  const list = useLoad((signal) => get<{ sessions: Session[]; nextCursor?: string }>('/v1/sessions', { limit: 50, cursor, state }, signal), [cursor, state], 2000)
  if (!list.data) return list.error !== null ? <ErrorNote error={list.error} retry={list.reload} /> : <Busy label="Loading sessions" />
  return (
    <>
      <div class="row head">
        <label class="row">State <select class="input" value={state} onChange={(e) => { setCursors([]); setState(e.currentTarget.value) }}>{['', 'idle', 'busy', 'paused'].map((s) => <option key={s} value={s}>{s || 'any'}</option>)}</select></label>
      </div>
      {list.error !== null && <ErrorNote error={list.error} retry={list.reload} />}
      <Table caption="Live sessions, the newest first" id={(s) => s.id} rows={list.data.sessions} empty={<Empty title="No session lives">Open one in the <a href={href('playground')}>playground</a>.</Empty>}
        columns={[
          { title: 'Session', cell: (s) => <span title={s.id}>{s.name || <code>{s.id.slice(0, 8)}…{s.id.slice(-4)}</code>}</span>, wide: true },
          ...(may('admin') ? [{ title: 'Owner', cell: (s: Session) => s.owner ?? '–' }] : []),
          { title: 'State', cell: (s) => <><State value={s.state} />{s.waiting ? ` ${number(s.waiting)} wait` : ''}</> },
          { title: 'Last used', cell: (s) => <Ago time={s.lastUsedAt} /> }, { title: 'Ends', cell: (s) => <Ago time={s.expiresAt} /> },
          { title: 'Memory', cell: (s) => (s.memoryBytes ? bytes(s.memoryBytes) : '–'), end: true }, { title: 'Runtime', cell: (s) => s.runtime },
          { title: 'Metadata', cell: (s) => (s.metadata ? JSON.stringify(s.metadata).slice(0, 120) : '') },
          ...(may('sessions') ? [{ title: 'Action', cell: (s: Session) => <End s={s} after={list.reload} /> }] : []),
        ]} />
      <div class="row">
        {cursors.length > 0 && <Button onClick={() => setCursors(cursors.slice(0, -1))}>Newer</Button>}
        {list.data.nextCursor && <Button onClick={() => setCursors([...cursors, list.data!.nextCursor!])}>Older</Button>}
      </div>
    </>
  )
}

function End({ s, after }: { s: Session; after: () => void }) {
  const [asked, setAsked] = useState(false)
  if (!asked) return <Button kind="danger" aria-label={`End session ${s.name || s.id}`} onClick={() => setAsked(true)}>End</Button>
  return (
    <span class="row">
      <Button kind="danger" onClick={() => remove(`/v1/sessions/${encodeURIComponent(s.id)}`).then(() => { tell('The session has ended'); after() }, complain).finally(() => setAsked(false))}>End it with its variables</Button>
      <Button onClick={() => setAsked(false)}>Keep it</Button>
    </span>
  )
}
