// The panels beside the output: files of the session, its states, and the settings.
import { useEffect, useState } from 'preact/hooks'
import { call, get, may, remove } from '../api'
import { Button, Empty, ErrorNote, Field, IconButton, icons } from '../ui/basics'
import { Ago, bytes } from '../ui/format'
import { useLoad } from '../ui/load'
import { complain, tell } from '../ui/toast'
import { OneFile } from './output'
import type { OutFile } from './run'
import { pathOf } from './save'
import type { Settings } from './settings'
import type { Checkpoint, Workspace } from './workspace'

// put gives files to the session, or keeps them for runs without one.
export async function put(w: Workspace, list: Iterable<File>) {
  for (const f of [...list]) { // the list of an input or of a drop is emptied after its event
    const path = (f.webkitRelativePath || f.name).replace(/^\/+/, '')
    try {
      if (w.session.value && w.settings.value.mode === 'session') {
        await call('PUT', `/v1/sessions/${w.session.value}/files/${pathOf(path)}`, { raw: f, type: 'application/octet-stream' })
      } else {
        w.dropped.value = [...w.dropped.value.filter((d) => d.path !== path), { path, content: f }]
      }
      tell(`${path} is in the working directory`)
    } catch (err) {
      complain(err)
    }
  }
  w.files.value++
}

export function FilesPanel({ workspace: w }: { workspace: Workspace }) {
  const session = w.session.value
  const { data, error, reload } = useLoad<{ files: OutFile[]; incomplete?: boolean }>((signal) => session ? get(`/v1/sessions/${session}/files`, { limit: 200 }, signal) : Promise.resolve({ files: [] }), [session, w.files.value])
  return (
    <div class="pad">
      <div class="row">
        <label class="button plain upload"><span>Add files</span><input type="file" multiple class="unseen" onChange={(e) => { void put(w, e.currentTarget.files ?? []); e.currentTarget.value = '' }} /></label>
        {session && <Button icon={icons.refresh} onClick={reload}>Refresh</Button>}
        <span class="hint">or drop them anywhere on this page.</span>
      </div>
      {error ? <ErrorNote error={error} retry={reload} /> : null}
      {w.dropped.value.map((d) => (
        <div class="out-file row" key={d.path}><code class="grow">{d.path}</code><span class="figures">{bytes(d.content.size)}, for the next run</span>
          <IconButton label={`Remove ${d.path}`} icon={icons.bin} onClick={() => { w.dropped.value = w.dropped.value.filter((o) => o !== d) }} /></div>
      ))}
      {data?.files.map((f) => (
        <OneFile key={f.path} file={f} path={`/v1/sessions/${session}/files/${pathOf(f.path)}`} allowed={may('sessions')}>
          <IconButton label={`Delete ${f.path}`} icon={icons.bin} onClick={() => remove(`/v1/sessions/${session}/files/${pathOf(f.path)}`).then(reload, complain)} />
        </OneFile>
      ))}
      {data && data.files.length === 0 && w.dropped.value.length === 0 && <Empty title="No files yet">Files of the working directory are listed here.</Empty>}
      {data?.incomplete && <p class="note">There are more files than these.</p>}
    </div>
  )
}

// StatesPanel shows checkpoints as a tree; a click returns to one.
export function StatesPanel({ workspace: w }: { workspace: Workspace }) {
  const [busy, setBusy] = useState('')
  const act = (what: string, f: () => Promise<unknown>) => () => {
    setBusy(what)
    f().catch(complain).finally(() => setBusy(''))
  }
  const all = w.checkpoints.value
  if (!w.session.value) return <Empty title="No session yet">Run the program: its session can then be kept as checkpoints, and rolled back.</Empty>
  const name = `State ${all.length + 1}`
  return (
    <div class="pad">
      <div class="row">
        <Button icon={icons.pin} busy={busy === 'keep'} disabled={busy !== ''} onClick={act('keep', () => w.checkpoint(name))}>Make a checkpoint</Button>
        <span class="hint">It keeps variables and files as they are now; up to 8 of them.</span>
      </div>
      {all.length > 0 && <ul class="states" aria-label="Checkpoints">{below(w, all, '', (id) => act(id, () => w.rollback(id)), busy)}</ul>}
    </div>
  )
}

function below(w: Workspace, all: Checkpoint[], parent: string, back: (id: string) => () => void, busy: string) {
  return all.filter((c) => c.parent === parent).map((c) => (
    <li key={c.id}>
      <div class={`row state-node ${w.at.value === c.id ? 'here' : ''}`}>
        <strong>{c.name}</strong><span class="hint"><Ago time={c.at} /></span>
        {w.at.value === c.id && <span class="hint">the present state comes from here</span>}
        <Button busy={busy === c.id} disabled={busy !== ''} onClick={back(c.id)}>Roll back to {c.name}</Button>
      </div>
      {all.some((o) => o.parent === c.id) && <ul>{below(w, all, c.id, back, busy)}</ul>}
    </li>
  ))
}

export function SettingsPanel({ workspace: w }: { workspace: Workspace }) {
  const s = w.settings.value
  const runtimes = useLoad<{ runtimes: { name: string; version: string; default?: boolean }[] }>((signal) => get('/v1/runtimes', {}, signal), [])
  const set = (change: Partial<Settings>) => { w.settings.value = { ...w.settings.value, ...change } }
  const [changed, setChanged] = useState(false)
  useEffect(() => setChanged(false), [w.session.value])
  const ofSession = (change: Partial<Settings>) => { set(change); setChanged(true) }
  const positive = (text: string) => text && !(Number(text) > 0) ? 'Enter a number above 0, or nothing.' : undefined
  return (
    <div class="pad settings">
      <fieldset>
        <legend>The program runs</legend>
        <label><input type="radio" name="mode" checked={s.mode === 'session'} disabled={!may('sessions')} onChange={() => set({ mode: 'session' })} /> in a session, whose variables stay</label>
        <label><input type="radio" name="mode" checked={s.mode === 'once' || !may('sessions')} onChange={() => set({ mode: 'once' })} /> once, in a fresh interpreter</label>
      </fieldset>
      <div class="grid">
        <Field label="Runtime">{(a) => (
          <select {...a} value={s.runtime} onChange={(e) => ofSession({ runtime: e.currentTarget.value })}>
            <option value="">Default</option>
            {runtimes.data?.runtimes.map((r) => <option key={r.name} value={r.name}>{r.name} (Python {r.version})</option>)}
          </select>)}
        </Field>
        <Field label="Timeout in seconds" error={positive(s.timeout)}>{(a) => <input {...a} inputMode="decimal" placeholder="60" value={s.timeout} onInput={(e) => set({ timeout: e.currentTarget.value })} />}</Field>
        <Field label="Memory in MiB" error={positive(s.memory)}>{(a) => <input {...a} inputMode="decimal" placeholder="512" value={s.memory} onInput={(e) => ofSession({ memory: e.currentTarget.value })} />}</Field>
        <Field label="Processors" error={positive(s.cpus)}>{(a) => <input {...a} inputMode="decimal" placeholder="1" value={s.cpus} onInput={(e) => ofSession({ cpus: e.currentTarget.value })} />}</Field>
      </div>
      <Field label="Environment variables" hint="One on each line: NAME=value. They are not part of links.">{(a) => <textarea {...a} rows={3} value={s.envs} onInput={(e) => ofSession({ envs: e.currentTarget.value })} />}</Field>
      {s.mode === 'once' && <Field label="Standard input" hint="What the program reads. In a session it asks instead.">{(a) => <textarea {...a} rows={3} value={s.stdin} onInput={(e) => set({ stdin: e.currentTarget.value })} />}</Field>}
      <label class="check"><input type="checkbox" checked={s.svg} onChange={(e) => set({ svg: e.currentTarget.checked })} /> Charts as SVG</label>
      {changed && w.session.value && s.mode === 'session' && (
        <p class="note row"><span>The session that is open has the settings of its beginning.</span><Button onClick={() => w.newSession()}>End it, so that the next run opens a new one</Button></p>
      )}
    </div>
  )
}
