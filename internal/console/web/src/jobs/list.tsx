// The list of jobs. It keeps pages by their cursors and asks for those again that are seen, so a list of a million jobs costs
// what one screen costs. There is no stream of a list: docs/architecture/console.md says why.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get, may, Problem, remove } from '../api'
import { go, href, route } from '../router'
import { Button, Empty, ErrorNote, State, icons } from '../ui/basics'
import { Ago, duration, number, useNow } from '../ui/format'
import { complain, tell } from '../ui/toast'
import { FilterBar, filtersOf, names, time, type Filters } from './filters'
import { Many } from './many'
import { NewJob } from './submit'
import { isFinal, ran, type Job } from './types'

interface Page {
  jobs: Job[]
  next: string | null // the cursor of the page behind it; null on the last one
}

const rowHeight = 44
const pageSize = 100

export function JobList() {
  const f = filtersOf(route.value.query)
  const signature = JSON.stringify(f)
  const list = usePages(f, signature)
  const [asks, setAsks] = useState<'new' | 'cancel' | 'purge' | null>(null)
  // The filters of the address, and not those of the last rendering: two changes may come before the next one.
  const change = (more: Partial<Filters>) => go('jobs', [], { ...filtersOf(route.value.query), ...more }, true)
  const narrowed = names.some((n) => f[n] !== '')
  return (
    <section aria-labelledby="jobs-title">
      <div class="row head">
        <h1 id="jobs-title" class="grow">Jobs</h1>
        <span class="hint" role="status">{list.error ? 'not up to date' : list.live ? 'live' : 'paused'}</span>
        <Button icon={icons.refresh} onClick={list.refresh}>Newest</Button>
        {may('execute') && <Button icon={icons.plus} onClick={() => setAsks('new')}>New job</Button>}
        {may('execute') && <Button onClick={() => setAsks('cancel')}>Cancel many…</Button>}
        {may('execute') && <Button kind="danger" onClick={() => setAsks('purge')}>Delete many…</Button>}
      </div>
      <FilterBar f={f} change={change} />
      {list.error !== null && <ErrorNote error={list.error} retry={list.refresh} />}
      {list.rows.length === 0 && list.done && list.error === null
        ? narrowed
          ? <Empty title="No job fits"><Button onClick={() => go('jobs')}>Show all jobs</Button></Empty>
          : <Empty title="No jobs yet">Run something in the <a href={href('playground')}>playground</a>, or submit a job with <code>kaa submit</code>.</Empty>
        : <Rows list={list} />}
      {asks === 'new' && <NewJob onClose={() => setAsks(null)} />}
      {(asks === 'cancel' || asks === 'purge') && <Many what={asks} f={f} onClose={() => { setAsks(null); list.refresh() }} />}
    </section>
  )
}

interface Pages {
  rows: Job[]
  done: boolean // there is nothing behind them
  searched: boolean // the last answer had fewer jobs than were asked for, and more may come
  error: unknown
  live: boolean
  run: number // moves on when it begins anew
  pages: number
  more: () => void
  see: (first: number, last: number) => void
  refresh: () => void
}

// usePages has the jobs that fit. more fetches the next page. The pages that are seen are asked for again every second or two; new
// jobs come in at the top, where the first page is.
function usePages(f: Filters, signature: string): Pages {
  const [pages, setPages] = useState<Page[]>([])
  const [error, setError] = useState<unknown>(null)
  const [live, setLive] = useState(true)
  const seen = useRef<[number, number]>([0, 0])
  const state = useRef({ pages, error, fetching: false })
  state.current.pages = pages
  state.current.error = error
  const [run, setRun] = useState(0)
  const scans = f.text !== '' || f.status !== '' || f.owner.startsWith('key:')
  const ask = (cursor: string | null, signal: AbortSignal) => get<{ jobs: Job[]; nextCursor?: string }>('/v1/jobs', {
    limit: pageSize, cursor: cursor ?? undefined, state: f.state, status: f.status, queue: f.queue, text: f.text, owner: f.owner, createdFrom: time(f.from), createdBefore: time(f.before),
  }, signal).then((a): Page => ({ jobs: a.jobs, next: a.nextCursor ?? null }))
  const ended = useRef(new AbortController())

  const refresh = () => {
    ended.current.abort()
    const own = ended.current = new AbortController()
    state.current.fetching = false
    setError(null)
    setRun((n) => n + 1)
    ask(null, own.signal).then((p) => { if (!own.signal.aborted) setPages([p]) }, (err) => { if (!own.signal.aborted) setError(err) })
  }
  useEffect(() => {
    setPages([])
    refresh()
    return () => ended.current.abort()
  }, [signature])

  useEffect(() => {
    let timer = 0
    let stopped = false
    const again = async () => {
      const own = ended.current
      setLive(!document.hidden)
      if (!document.hidden && state.current.pages.length === 0 && away(state.current.error)) refresh()
      if (!document.hidden && state.current.pages.length > 0) {
        const inSight = pagesOf(state.current.pages, ...seen.current)
        const top = inSight.length === 1 && inSight[0] === 0
        try {
          for (const i of inSight) {
            const cursor = i === 0 ? null : state.current.pages[i - 1]?.next ?? null
            if (i > 0 && cursor === null) break
            const fresh = await ask(cursor, own.signal)
            if (own.signal.aborted || stopped) break
            // At the top the other pages are let go: what scrolling fetches again is not old.
            setPages((all) => (top && !scans ? [fresh] : merged(all, i, fresh)))
          }
          if (!own.signal.aborted) setError(null)
        } catch (err) {
          if (!own.signal.aborted) setError(err)
        }
      }
      if (!stopped) timer = window.setTimeout(again, scans ? 5000 : 1500)
    }
    timer = window.setTimeout(again, 1500)
    const shown = () => { if (!document.hidden) { clearTimeout(timer); void again() } }
    document.addEventListener('visibilitychange', shown)
    return () => { stopped = true; clearTimeout(timer); document.removeEventListener('visibilitychange', shown) }
  }, [signature])

  const more = () => {
    const last = state.current.pages.at(-1)
    if (!last?.next || state.current.fetching) return
    state.current.fetching = true
    const own = ended.current
    ask(last.next, own.signal).then((p) => {
      state.current.fetching = false
      if (!own.signal.aborted) setPages((all) => (all.at(-1)?.next === last.next ? [...all, p] : all))
    }, (err) => {
      state.current.fetching = false
      if (!own.signal.aborted) setError(err)
    })
  }
  const rows = useMemo(() => pages.flatMap((p) => p.jobs), [pages])
  const end = pages.at(-1)
  return {
    rows, error, live, more, refresh, run, pages: pages.length, done: end !== undefined && end.next === null, searched: end !== undefined && end.next !== null && end.jobs.length < pageSize && scans,
    see: (first, last) => { seen.current = [first, last] },
  }
}

// pagesOf are the pages that have the rows from first to last, and the first page if its beginning is in sight.
function pagesOf(pages: Page[], first: number, last: number): number[] {
  let count = 0
  return pages.flatMap((p, i) => {
    const begin = count
    count += p.jobs.length
    return begin <= last && count > first || i === 0 && first === 0 ? [i] : []
  })
}

// away reports whether an error is one that passes by itself.
const away = (err: unknown) => err instanceof Problem && (err.status === 0 || err.status >= 500)

// merged is the pages with page i as it is now. The first page grows at its top: what falls out of it goes to the page behind, so that rows do not
// vanish. A first page with nothing in common with the old one replaces all.
export function merged(pages: Page[], i: number, fresh: Page): Page[] {
  const old = pages[i]
  if (!old) return pages
  if (i > 0 || pages.length === 1) {
    if (i > 0 && fresh.next !== old.next) return pages.map((p, n) => (n === i ? { jobs: update(old.jobs, fresh.jobs), next: old.next } : p))
    return pages.map((p, n) => (n === i ? fresh : p))
  }
  const has = new Set(fresh.jobs.map((j) => j.id))
  if (!old.jobs.some((j) => has.has(j.id))) return [fresh]
  const oldest = fresh.jobs.at(-1)!.id
  return [{ jobs: [...fresh.jobs, ...old.jobs.filter((j) => j.id < oldest)], next: old.next }, ...pages.slice(1)]
}

function update(old: Job[], fresh: Job[]): Job[] {
  const by = new Map(fresh.map((j) => [j.id, j]))
  return old.map((j) => by.get(j.id) ?? j)
}

// Rows draws the rows that are seen, and some more. The frame has the height of all of them.
function Rows({ list }: { list: Pages }) {
  const frame = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  const now = useNow(1000)
  const { rows } = list
  const first = Math.max(0, Math.floor(top / rowHeight) - 8)
  const last = Math.min(rows.length, Math.ceil((top + height) / rowHeight) + 8)
  useEffect(() => {
    list.see(first, Math.max(first, last - 1))
    if (last > rows.length - 20 && !list.done) list.more()
  }, [first, last, rows.length, list.done, list.pages])
  useEffect(() => { if (frame.current) frame.current.scrollTop = 0 }, [list.run])
  useEffect(() => {
    const resized = new ResizeObserver(() => { if (frame.current) setHeight(frame.current.clientHeight) })
    if (frame.current) resized.observe(frame.current)
    return () => resized.disconnect()
  }, [])
  return (
    <>
      <div class="jobs-frame" ref={frame} tabIndex={0} role="region" aria-label="List of jobs" onScroll={(e) => setTop(e.currentTarget.scrollTop)}>
        <table class="jobs" aria-rowcount={list.done ? rows.length + 1 : -1}>
          <caption class="unseen">Jobs, the newest first</caption>
          <thead><tr aria-rowindex={1}>{['Job', 'State', 'Queue', 'Came', 'Ran', 'Metadata', ''].map((t) => <th key={t} scope="col">{t || <span class="unseen">Actions</span>}</th>)}</tr></thead>
          <tbody>
            {first > 0 && <tr aria-hidden="true" class="spare"><td colSpan={7}><svg width="1" height={first * rowHeight} aria-hidden="true" /></td></tr>}
            {rows.slice(first, last).map((j, i) => <Row key={j.id} j={j} index={first + i + 2} now={now} />)}
            {last < rows.length && <tr aria-hidden="true" class="spare"><td colSpan={7}><svg width="1" height={(rows.length - last) * rowHeight} aria-hidden="true" /></td></tr>}
          </tbody>
        </table>
        {list.searched && <p class="hint jobs-pad" role="status">Looking further back: {rows.length === 0 ? 'nothing was found so far' : `${number(rows.length)} found so far`}…</p>}
      </div>
      <p class="hint" role="status">{number(rows.length)} jobs{list.done ? '' : ' so far; scroll for more'}</p>
    </>
  )
}

function Row({ j, index, now }: { j: Job; index: number; now: number }) {
  return (
    <tr aria-rowindex={index}>
      <td><a href={href('jobs', [j.id])} title={j.id}><code>{j.id.slice(0, 8)}…{j.id.slice(-4)}</code></a></td>
      <td><State value={j.state === 'completed' && j.status && j.status !== 'ok' ? j.status : j.state} />{j.cancelRequested && <span class="hint"> ending</span>}</td>
      <td>{j.queue}</td>
      <td><Ago time={j.createdAt} /></td>
      <td class="end">{duration(ran(j, now))}</td>
      <td class="cut">{j.owner && <b>{j.owner} </b>}{j.metadata ? JSON.stringify(j.metadata).slice(0, 200) : ''}{j.failure && <span class="wrong">{j.failure.message}</span>}</td>
      <td>{!isFinal(j.state) && may('execute') && <CancelButton id={j.id} />}</td>
    </tr>
  )
}

export function CancelButton({ id, after }: { id: string; after?: () => void }) {
  const [busy, setBusy] = useState(false)
  return (
    <Button kind="danger" busy={busy} aria-label={`Cancel job ${id}`} onClick={() => {
      setBusy(true)
      remove(`/v1/jobs/${encodeURIComponent(id)}`).then(() => { tell('The job is being cancelled'); after?.() }, complain).finally(() => setBusy(false))
    }}>Cancel</Button>
  )
}
