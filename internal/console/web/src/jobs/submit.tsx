// A new job from the page. What was typed stays until it is sent, also if the dialog is closed.
import { signal } from '@preact/signals'
import { useState } from 'preact/hooks'
import { get, post } from '../api'
import { go } from '../router'
import { Button, ErrorNote, Field, icons } from '../ui/basics'
import { Dialog } from '../ui/dialog'
import { useLoad } from '../ui/load'
import { tell } from '../ui/toast'
import type { Job } from './types'

const empty = { code: '', stdin: '', queue: '', runtime: '', timeout: '', delay: '', attempts: '', metadata: '' }
type Draft = typeof empty
const draft = signal<Draft>(empty)

// number reads a field with a number; empty is none.
function number(text: string, name: string): number | undefined {
  if (!text.trim()) return undefined
  const n = Number(text)
  if (!Number.isFinite(n) || n < 0) throw new Error(`${name}: enter a number that is not negative, or nothing.`)
  return n
}

export function bodyOf(d: Draft): Record<string, unknown> {
  if (!d.code.trim()) throw new Error('Enter a program.')
  let metadata: unknown
  if (d.metadata.trim()) {
    try {
      metadata = JSON.parse(d.metadata)
    } catch (err) {
      throw new Error(`Metadata is not JSON: ${err instanceof Error ? err.message : err}. Write an object such as {"user": "ada"}.`)
    }
  }
  return {
    code: d.code, events: true, stdin: d.stdin || undefined, queue: d.queue || undefined, runtime: d.runtime || undefined,
    timeout: number(d.timeout, 'Timeout'), delay: number(d.delay, 'Delay'), maxAttempts: number(d.attempts, 'Attempts'), metadata,
  }
}

export function NewJob({ onClose }: { onClose: () => void }) {
  const d = draft.value
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const queues = useLoad((signal) => get<{ queues: { name: string }[] }>('/v1/queues', {}, signal), [])
  const runtimes = useLoad((signal) => get<{ runtimes: { name: string; version: string }[] }>('/v1/runtimes', {}, signal), [])
  const set = (name: keyof Draft) => (e: { currentTarget: { value: string } }) => { draft.value = { ...draft.value, [name]: e.currentTarget.value } }
  const send = async (e?: Event) => {
    e?.preventDefault()
    setError(null)
    setBusy(true)
    try {
      const job = await post<Job>('/v1/jobs', bodyOf(draft.value))
      draft.value = empty
      tell('The job was accepted')
      onClose()
      go('jobs', [job.id])
    } catch (err) {
      setError(err)
      setBusy(false)
    }
  }
  const names = queues.data?.queues.map((q) => q.name).filter((n) => n !== 'operations') ?? []
  return (
    <Dialog title="New job" wide onClose={onClose}>
      <form onSubmit={send} onKeyDown={(e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) void send(e) }}>
        <Field label="Program in Python">{(a) => <textarea {...a} rows={10} spellcheck={false} value={d.code} onInput={set('code')} />}</Field>
        <div class="grid">
          <Field label="Queue">{(a) => <select {...a} value={d.queue} onChange={set('queue')}><option value="">Default</option>{names.map((n) => <option key={n}>{n}</option>)}</select>}</Field>
          <Field label="Runtime">{(a) => <select {...a} value={d.runtime} onChange={set('runtime')}><option value="">Default</option>{runtimes.data?.runtimes.map((r) => <option key={r.name} value={r.name}>{r.name} (Python {r.version})</option>)}</select>}</Field>
          <Field label="Timeout in seconds">{(a) => <input {...a} inputMode="decimal" placeholder="60" value={d.timeout} onInput={set('timeout')} />}</Field>
          <Field label="Delay in seconds">{(a) => <input {...a} inputMode="decimal" placeholder="0" value={d.delay} onInput={set('delay')} />}</Field>
          <Field label="Attempts at most">{(a) => <input {...a} inputMode="numeric" placeholder="1" value={d.attempts} onInput={set('attempts')} />}</Field>
        </div>
        <Field label="Standard input">{(a) => <textarea {...a} rows={2} spellcheck={false} value={d.stdin} onInput={set('stdin')} />}</Field>
        <Field label="Metadata" hint='A JSON object, such as {"user": "ada"}. The list can be searched for it.'>{(a) => <textarea {...a} rows={2} spellcheck={false} value={d.metadata} onInput={set('metadata')} />}</Field>
        {error !== null && <ErrorNote error={error} />}
        <div class="row"><Button kind="main" type="submit" icon={icons.play} busy={busy}>Submit</Button><span class="hint">or Ctrl+Enter</span></div>
      </form>
    </Dialog>
  )
}
