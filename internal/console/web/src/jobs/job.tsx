// The page of one job.
import { useState } from 'preact/hooks'
import { fetched, get, may, post, Problem, remove } from '../api'
import { go, href } from '../router'
import { Busy, Button, Empty, ErrorNote, icons, State } from '../ui/basics'
import { Ago, bytes, duration, number, useNow } from '../ui/format'
import { useLoad } from '../ui/load'
import { Table } from '../ui/table'
import { complain, copy, tell } from '../ui/toast'
import { CancelButton } from './list'
import { JobOutput } from './output'
import { isFinal, timeline, waits, type FileOfJob, type Job, type JobRequest } from './types'

export function JobPage({ id }: { id: string }) {
  const job = useLoad((signal) => get<Job>(`/v1/jobs/${encodeURIComponent(id)}`, {}, signal), [id], (j) => (isFinal(j.state) ? 0 : 1000))
  const j = job.data
  const open = j !== null && !isFinal(j.state)
  if (!j) {
    if (job.error instanceof Problem && (job.error.status === 404 || job.error.status === 410)) {
      return <Empty title={job.error.status === 410 ? 'This job has expired' : 'No job has this id'}>{job.error.status === 410 ? 'Jobs are kept for a time after their end; ask for a longer resultTtl next time.' : 'It was deleted, it expired long ago, or the address is wrong.'} <a href={href('jobs')}>All jobs</a></Empty>
    }
    return job.error !== null ? <ErrorNote error={job.error} retry={job.reload} /> : <Busy label="Loading the job" />
  }
  return (
    <article class="job-page" aria-labelledby="job-title">
      <p><a href={href('jobs')}>All jobs</a></p>
      <div class="row head">
        <h1 id="job-title">Job <code>{j.id}</code></h1>
        <State value={j.state} />{j.status && j.status !== 'ok' && <State value={j.status} />}
        <span class="grow" />
        <Button icon={icons.copy} onClick={() => copy(j.id, 'The id')}>Copy id</Button>
        {open && may('execute') && <CancelButton id={j.id} after={job.reload} />}
        {!open && may('execute') && <RunAgain id={j.id} />}
        {!open && may('execute') && <Delete id={j.id} />}
      </div>
      {job.error !== null && <ErrorNote error={job.error} retry={job.reload} />}
      <Why j={j} />
      <Timeline j={j} />
      <Attempts j={j} />
      <JobOutput id={j.id} ended={!open} />
      <Request j={j} />
      <Files j={j} />
      <Facts j={j} />
    </article>
  )
}

// Why says in words what is wrong with a job, or what it waits for.
function Why({ j }: { j: Job }) {
  const why = waits(j.waitsFor)
  if (why) return <p class="verdict wait" role="status">{why}</p>
  if (j.cancelRequested && !isFinal(j.state)) return <p class="verdict wait" role="status">Its end was asked for. Its code is interrupted, and killed if it goes on.</p>
  if (j.failure) return <p class="verdict bad" role="alert">{j.state === 'cancelled' ? 'Cancelled: ' : 'Kaa could not carry it out: '}{j.failure.message} <code>{j.failure.code}</code></p>
  const r = j.result
  if (!r || r.status === 'ok') return null
  switch (r.status) {
    case 'error': return <p class="verdict bad">Its code ended with {r.error ? <><b>{r.error.name}</b>{r.error.value ? `: ${r.error.value.slice(0, 500)}` : ''}</> : 'an error'}.</p>
    case 'interrupted': return <p class="verdict warn">{j.cancelRequested || j.state === 'cancelled' ? 'Its code was interrupted by a cancel.' : `Its code was interrupted: it may run for ${duration(j.timeout * 1000)}.`}</p>
  }
  return <p class="verdict warn">{r.error ? `${r.error.name}: ${r.error.value.slice(0, 500)}` : `The program ended with the exit code ${r.exitCode ?? '?'}${r.signal ? `, by the signal ${r.signal}` : ''}.`}</p>
}

function Timeline({ j }: { j: Job }) {
  const now = useNow(isFinal(j.state) ? 60000 : 500)
  const steps = timeline(j, now)
  const all = steps.reduce((sum, s) => sum + (s.took ?? 0), 0)
  return (
    <section aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      <ol class="timeline">
        {steps.map((s) => (
          <li key={s.name} class={s.open ? 'open' : ''}>
            <b>{s.name}</b> <time dateTime={s.at}>{s.at ? new Date(s.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false }) : ''}</time>
            {s.took !== undefined && <span>{s.open ? 'for' : ''} {duration(s.took)} <span class="hint">{s.words}</span></span>}
            {s.took !== undefined && <svg class="timeline-bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="timeline-part" width={all > 0 ? Math.max(0.5, s.took / all * 100) : 0} height="4" /></svg>}
          </li>
        ))}
      </ol>
    </section>
  )
}

function Attempts({ j }: { j: Job }) {
  if (!j.earlierAttempts?.length) return null
  return (
    <section aria-labelledby="attempts-title">
      <h2 id="attempts-title">Earlier attempts</h2>
      <Table caption="Attempts before the last one" id={(a) => String(a.attempt)} rows={j.earlierAttempts} columns={[
        { title: 'Attempt', cell: (a) => a.attempt, end: true }, { title: 'Started', cell: (a) => <Ago time={a.startedAt} /> },
        { title: 'Ran', cell: (a) => duration(new Date(a.endedAt).getTime() - new Date(a.startedAt).getTime()), end: true },
        { title: 'Ended because of', cell: (a) => <code>{a.reason}</code> }, { title: 'Runner', cell: (a) => <code>{a.runner}</code>, wide: true },
      ]} />
      <p class="hint">Attempt {j.attempt} of {j.maxAttempts} at most. A job is tried again only when its runner was lost or stopped, never because its code failed.</p>
    </section>
  )
}

function Request({ j }: { j: Job }) {
  const asked = useLoad((signal) => get<JobRequest>(`/v1/jobs/${encodeURIComponent(j.id)}/request`, {}, signal), [j.id, isFinal(j.state)])
  const r = asked.data
  return (
    <section aria-labelledby="code-title">
      <h2 id="code-title">Code</h2>
      {asked.error !== null && !r && <p class="hint">{asked.error instanceof Problem ? asked.error.message : 'It could not be loaded.'}</p>}
      {r && (
        <>
          <pre class="code" tabIndex={0}>{r.code ?? r.command ?? (r.argv ?? []).map((a) => JSON.stringify(a)).join(' ')}</pre>
          <dl class="facts">
            {r.args?.length ? <><dt>Arguments</dt><dd><code>{r.args.map((a) => JSON.stringify(a)).join(' ')}</code></dd></> : null}
            {r.cwd && <><dt>Begins in</dt><dd><code>{r.cwd}</code></dd></>}
            {r.stdin && <><dt>Standard input</dt><dd><pre>{r.stdin.slice(0, 2000)}</pre></dd></>}
            {r.envNames?.length ? <><dt>Variables</dt><dd><code>{r.envNames.join(' ')}</code> <span class="hint">values are not shown</span></dd></> : null}
            {r.files?.length ? <><dt>Files that came with it</dt><dd>{r.files.map((f) => `${f.path} (${bytes(f.size)})`).join(', ')}</dd></> : null}
            {r.functions?.length ? <><dt>Functions of the caller</dt><dd><code>{r.functions.join(' ')}</code></dd></> : null}
            {r.cases ? <><dt>Cases</dt><dd>{number(r.cases)}</dd></> : null}
          </dl>
          <Button icon={icons.copy} onClick={() => copy(r.code ?? r.command ?? '', 'The code')}>Copy</Button>
        </>
      )}
    </section>
  )
}

async function download(j: Job, f: FileOfJob) {
  try {
    const res = await fetched('GET', `/v1/jobs/${encodeURIComponent(j.id)}/files/${f.path.split('/').map(encodeURIComponent).join('/')}`)
    const a = document.createElement('a')
    a.href = URL.createObjectURL(new Blob([await res.arrayBuffer()], { type: 'application/octet-stream' }))
    a.download = f.path.split('/').at(-1) ?? 'file'
    a.click()
    setTimeout(() => URL.revokeObjectURL(a.href), 10_000)
  } catch (err) {
    complain(err)
  }
}

function Files({ j }: { j: Job }) {
  const files = j.result?.files ?? []
  if (files.length === 0) return null
  return (
    <section aria-labelledby="files-title">
      <h2 id="files-title">Files</h2>
      <Table caption="Files that the code left" id={(f) => f.path} rows={files} columns={[
        { title: 'File', cell: (f) => f.path, wide: true }, { title: 'Size', cell: (f) => bytes(f.size), end: true },
        { title: 'Download', cell: (f) => (may('files') ? <Button icon={icons.down} aria-label={`Download ${f.path}`} onClick={() => void download(j, f)}>Download</Button> : '') },
      ]} />
    </section>
  )
}

function Facts({ j }: { j: Job }) {
  const r = j.result
  const w = j.webhook
  return (
    <section aria-labelledby="facts-title">
      <h2 id="facts-title">Details</h2>
      <dl class="facts">
        {j.owner && <><dt>Owner</dt><dd>{j.owner}</dd></>}
        <dt>Queue</dt><dd><a href={href('jobs', [], { queue: j.queue })}>{j.queue}</a></dd>
        <dt>Attempt</dt><dd>{j.attempt} of {j.maxAttempts} at most</dd>
        <dt>May run for</dt><dd>{duration(j.timeout * 1000)}</dd>
        {j.runner && <><dt>Runner</dt><dd><code>{j.runner}</code></dd></>}
        {j.sessionId && <><dt>Interpreter</dt><dd><code>{j.sessionId}</code></dd></>}
        {j.runtime && <><dt>Runtime</dt><dd>{j.runtime}</dd></>}
        {j.batchId && <><dt>Batch</dt><dd><a href={href('batches', [j.batchId])}><code>{j.batchId}</code></a>, number {number(j.batchIndex)}</dd></>}
        {j.scheduleId && <><dt>Schedule</dt><dd><code>{j.scheduleId}</code></dd></>}
        {j.rerunOf && <><dt>Runs again</dt><dd><a href={href('jobs', [j.rerunOf])}><code>{j.rerunOf}</code></a></dd></>}
        {r && <><dt>Ran</dt><dd>{duration(r.durationMs)}, {duration(r.cpuMs)} of a processor, {bytes(r.peakMemoryBytes)} of memory at once</dd></>}
        {r?.exitCode !== undefined && <><dt>Exit code</dt><dd>{r.exitCode}{r.signal ? ` (${r.signal})` : ''}</dd></>}
        {w && <><dt>Webhook</dt><dd>{w.url} <State value={w.state} /> after {number(w.attempts)} {w.attempts === 1 ? 'attempt' : 'attempts'}{w.lastStatus ? `, the last answered ${w.lastStatus}` : ''}{w.lastError ? `: ${w.lastError}` : ''}</dd></>}
        <dt>Kept for</dt><dd>{duration(j.resultTtl * 1000)} after its end</dd>
        {j.metadata && <><dt>Metadata</dt><dd><pre>{JSON.stringify(j.metadata, null, 2)}</pre></dd></>}
      </dl>
    </section>
  )
}

function RunAgain({ id }: { id: string }) {
  const [busy, setBusy] = useState(false)
  return (
    <Button icon={icons.play} busy={busy} onClick={() => {
      setBusy(true)
      post<Job>(`/v1/jobs/${encodeURIComponent(id)}/rerun`).then((made) => { tell('It runs again as a new job'); go('jobs', [made.id]) }, complain).finally(() => setBusy(false))
    }}>Run again</Button>
  )
}

function Delete({ id }: { id: string }) {
  const [asked, setAsked] = useState(false)
  if (!asked) return <Button kind="danger" icon={icons.bin} onClick={() => setAsked(true)}>Delete</Button>
  return (
    <>
      <Button kind="danger" onClick={() => remove(`/v1/jobs/${encodeURIComponent(id)}/record`).then(() => { tell('The job was deleted'); go('jobs') }, complain)}>Delete it for good</Button>
      <Button onClick={() => setAsked(false)}>Keep it</Button>
    </>
  )
}
