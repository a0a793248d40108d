import { computed, effect, signal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { may } from '../api'
import { go, href, route } from '../router'
import { Button, Busy, Empty, IconButton, icons } from '../ui/basics'
import { Tabs } from '../ui/tabs'
import { complain, copy, tell } from '../ui/toast'
import { namesOf } from './complete'
import type { Editor } from './editor'
import { examples } from './examples'
import { lineOf, RunView } from './output'
import { FilesPanel, put, SettingsPanel, StatesPanel } from './panels'
import { packed, unpacked } from './share'
import { cli, curl, python } from './snippets'
import TerminalPanel from './terminal'
import { Workspace, type Checkpoint, type Settings } from './workspace'

const stored = 'kaa.playground'

// The workspaces live as long as the tab: another page can be opened meanwhile. Programs and sessions survive a reload.
const workspaces = signal<Workspace[]>([])
const chosen = signal('')
const workspace = computed(() => workspaces.value.find((w) => w.id === chosen.value) ?? workspaces.value[0]!)
// beside is the program at the side of the chosen one; empty for none.
const beside = signal('')
const other = computed(() => workspaces.value.find((w) => w.id === beside.value && w !== workspace.value))

// choose shows a program. The one that was at the left goes to the other side if it takes that one's place.
function choose(w: Workspace) {
  if (w === other.value) beside.value = workspace.value.id
  chosen.value = w.id
}

function add(w: Workspace) {
  workspaces.value = [...workspaces.value, w]
  chosen.value = w.id
}

// Kept is what a reload leaves of a workspace.
interface Kept { title: string; code: string; settings: Settings; session: string; checkpoints?: Checkpoint[]; at?: string; chosen?: boolean }

const keptOf = (w: Workspace): Kept => ({
  title: w.title.value, code: w.code.value.slice(0, 1 << 20), settings: w.settings.value, session: w.session.value, checkpoints: w.checkpoints.value, at: w.at.value, chosen: w === workspace.value,
})

function restore() {
  try {
    for (const o of JSON.parse(sessionStorage.getItem(stored) ?? '[]') as Kept[]) {
      const w = new Workspace(o.title)
      w.code.value = o.code
      w.settings.value = o.settings
      if (o.session) {
        w.adopt(o.session)
        w.checkpoints.value = o.checkpoints ?? []
        w.at.value = o.at ?? ''
        w.connect().catch(() => {})
      }
      workspaces.value = [...workspaces.value, w]
      if (o.chosen) chosen.value = w.id
    }
  } catch { /* what cannot be read is left out */ }
  if (workspaces.value.length === 0) {
    const w = new Workspace('Program 1')
    w.code.value = examples[0]!.code
    add(w)
  }
  effect(() => {
    const all = JSON.stringify(workspaces.value.map(keptOf))
    try {
      sessionStorage.setItem(stored, all)
    } catch { /* the browser keeps no more; the programs are still on the page */ }
  })
}

// openShared puts the program of a link into a workspace of its own. It is never run by itself.
async function openShared(text: string) {
  try {
    const s = await unpacked(text)
    const w = new Workspace('Shared program')
    w.code.value = s.code
    w.settings.value = s.settings
    add(w)
    tell('This program came with the link. Read it before you run it.')
  } catch (err) {
    complain(err)
  }
  go('playground', [], {}, true)
}

export default function Playground() {
  if (workspaces.value.length === 0) restore()
  const shared = route.value.query.get('p')
  useEffect(() => { if (shared) void openShared(shared) }, [shared])
  const w = workspace.value
  const second = other.value
  useEffect(() => {
    const over = (e: DragEvent) => { if (e.dataTransfer?.types.includes('Files')) e.preventDefault() }
    const drop = (e: DragEvent) => {
      if (!e.dataTransfer?.files.length) return
      e.preventDefault()
      const { items, files } = e.dataTransfer
      const folders = new Set([...items].map((i) => i.webkitGetAsEntry()).filter((entry) => entry?.isDirectory).map((entry) => entry!.name))
      if (folders.size > 0) complain(new Error(`${[...folders].join(', ')}: folders are not taken. Drop the files in them.`))
      const side = e.target instanceof Element ? e.target.closest<HTMLElement>('[data-workspace]')?.dataset.workspace : undefined
      void put(workspaces.value.find((w) => w.id === side) ?? workspace.value, [...files].filter((f) => !folders.has(f.name)))
    }
    addEventListener('dragover', over)
    addEventListener('drop', drop)
    return () => { removeEventListener('dragover', over); removeEventListener('drop', drop) }
  }, [])
  return (
    <div class="playground">
      <h1 class="unseen">Playground</h1>
      <WorkspaceTabs />
      {second
        ? <div class="pair">{[w, second].map((x) => <Half key={x.id} workspace={x} />)}</div>
        : <div class="halves" data-workspace={w.id}><Left key={w.id} workspace={w} /><Right key={w.id + 'r'} workspace={w} /></div>}
    </div>
  )
}

// Half is one of two programs that are side by side.
function Half({ workspace: w }: { workspace: Workspace }) {
  return (
    <section class="half" aria-label={w.title.value} data-workspace={w.id}>
      <Left workspace={w} />
      <Right workspace={w} />
    </section>
  )
}

function WorkspaceTabs() {
  const close = (w: Workspace) => {
    w.close()
    workspaces.value = workspaces.value.filter((o) => o !== w)
    if (workspaces.value.length === 0) {
      const fresh = new Workspace('Program 1')
      add(fresh)
    }
    if (!workspaces.value.some((o) => o.id === chosen.value)) chosen.value = workspaces.value.at(-1)!.id
  }
  return (
    <div class="row programs" role="group" aria-label="Programs">
      {workspaces.value.map((w) => (
        <span key={w.id} class={`program ${w === workspace.value || w === other.value ? 'chosen' : ''}`}>
          <button type="button" aria-pressed={w === workspace.value || w === other.value} onClick={() => choose(w)}>{w.title.value}</button>
          {workspaces.value.length > 1 && <IconButton label={`Close ${w.title.value} and end its session`} icon={icons.close} onClick={() => close(w)} />}
        </span>
      ))}
      <IconButton label="New program" icon={icons.plus} onClick={() => add(new Workspace(`Program ${workspaces.value.length + 1}`))} />
      <span class="grow" />
      {other.value
        ? (
          <>
            <Button icon={icons.play} onClick={() => { for (const w of [workspace.value, other.value]) if (w) void start(w) }}>Run both</Button>
            <Button onClick={() => { beside.value = '' }}>One program</Button>
          </>
        )
        : workspaces.value.length > 1 && <Button onClick={() => { beside.value = workspaces.value.findLast((w) => w !== workspace.value)!.id }}>Side by side</Button>}
    </div>
  )
}

// editors are those that are shown, for what marks a line from elsewhere.
const editors = new Map<Workspace, Editor>()

function Left({ workspace: w }: { workspace: Workspace }) {
  const host = useRef<HTMLDivElement>(null)
  const [ready, setReady] = useState(false)
  const run = () => { void start(w) }
  useEffect(() => {
    let made: Editor | null = null
    let gone = false
    let stop = () => {}
    import('./editor').then(({ Editor }) => {
      if (gone || !host.current) return
      made = new Editor(host.current, { text: w.code.value, onChange: (t) => { w.code.value = t }, onRun: run, complete: (path) => namesOf(w, path) })
      editors.set(w, made)
      setReady(true)
      if (document.activeElement === document.body) made.focus() // not while something else is being typed
      // A change that does not come from the editor, such as an example, shows in it. The effect runs in the same step as the change: one that runs
      // after the next rendering would put an older text over what was typed meanwhile.
      const editor = made
      stop = effect(() => editor.set(w.code.value))
    }, () => complain(new Error('The editor could not be loaded. Reload the page.')))
    return () => {
      gone = true
      stop()
      made?.destroy()
      editors.delete(w)
    }
  }, [])
  return (
    <section class="left panel" aria-label="Program">
      <Bar workspace={w} run={run} />
      <div class="editor">{!ready && <Busy label="Editor" />}<div ref={host} class="editor-host" /></div>
    </section>
  )
}

async function start(w: Workspace) {
  if (w.active || !w.code.value.trim()) return
  const editor = editors.get(w)
  editor?.markLine(null)
  const running = w.run(w.code.value)
  const run = w.runs.value.at(-1)!
  const stop = effect(() => {
    if (!run.outcome.value) return
    const failed = run.items.find((i) => i.kind === 'error')
    if (failed?.kind === 'error' && w.code.value === run.code) editors.get(w)?.markLine(lineOf(failed.error))
    queueMicrotask(() => stop())
  })
  await running
}

// forked puts a copy of a program and its session beside it, so that both can go on.
async function forked(w: Workspace) {
  const copy = await w.fork(`Fork of ${w.title.value}`)
  add(copy)
  chosen.value = w.id
  beside.value = copy.id
}

function Bar({ workspace: w, run }: { workspace: Workspace; run: () => void }) {
  const active = w.runs.value.find((r) => r.outcome.value === null)
  const session = w.session.value
  const [busy, setBusy] = useState(false)
  const act = (f: () => Promise<unknown>) => () => { setBusy(true); f().catch(complain).finally(() => setBusy(false)) }
  const link = async () => {
    const at = new URL(location.href)
    at.hash = href('playground', [], { p: await packed({ code: w.code.value, settings: w.settings.value }) }).slice(1)
    await copy(at.href, 'Link')
  }
  return (
    <div class="bar row">
      {active
        ? <Button kind="danger" icon={icons.stop} onClick={() => w.interrupt()}>Interrupt</Button>
        : <Button kind="main" icon={icons.play} onClick={run} title="Ctrl+Enter or ⌘+Enter">Run</Button>}
      <Menu label="Examples">{examples.map((e) => ({ title: e.title + (e.needs ? ` (${e.needs})` : ''), act: () => { w.code.value = e.code; w.title.value = e.title } }))}</Menu>
      {session && may('sessions') && (
        <>
          <IconButton label="Restart the session: a fresh interpreter" icon={icons.refresh} disabled={busy} onClick={act(() => w.restart())} />
          <IconButton label="Fork the session: try both" icon={icons.fork} disabled={busy} onClick={act(() => forked(w))} />
        </>
      )}
      <span class="grow" />
      <span class="hint session-state">{w.settings.value.mode === 'once' ? 'runs once' : session ? w.connected.value ? 'session' : 'connecting' : 'no session yet'}</span>
      <Menu label="Share" icon={icons.share}>{[
        { title: 'Copy a link to this program', act: () => link().catch(complain) },
        { title: 'Copy as curl', act: async () => copy(curl(await w.body(w.code.value)), 'Call') },
        { title: 'Copy as Python', act: () => copy(python(w.code.value, w.settings.value), 'Program') },
        { title: 'Copy for the command line', act: () => copy(cli(w.code.value, w.settings.value), 'Commands') },
      ]}</Menu>
    </div>
  )
}

function Menu({ label, icon, children }: { label: string; icon?: string; children: { title: string; act: () => unknown }[] }) {
  const [open, setOpen] = useState(false)
  const root = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (!open) return
    root.current?.querySelector<HTMLElement>('ul button')?.focus()
    const away = (e: Event) => { if (!root.current?.contains(e.target as Node)) setOpen(false) }
    addEventListener('pointerdown', away)
    return () => removeEventListener('pointerdown', away)
  }, [open])
  const keys = (e: KeyboardEvent) => {
    const all = [...root.current!.querySelectorAll<HTMLElement>('ul button')]
    const at = all.indexOf(document.activeElement as HTMLElement)
    if (e.key === 'Escape') {
      setOpen(false)
      root.current?.querySelector('button')?.focus()
    } else if (e.key === 'ArrowDown') all[(at + 1) % all.length]?.focus()
    else if (e.key === 'ArrowUp') all[(at - 1 + all.length) % all.length]?.focus()
    else return
    e.preventDefault()
  }
  return (
    <div class="menu" ref={root} onKeyDown={open ? keys : undefined}>
      <Button icon={icon} aria-expanded={open} onClick={() => setOpen((o) => !o)}>{label}</Button>
      {open && <ul class="card">{children.map((c) => <li key={c.title}><button type="button" onClick={() => { setOpen(false); void c.act() }}>{c.title}</button></li>)}</ul>}
    </div>
  )
}

function Right({ workspace: w }: { workspace: Workspace }) {
  const [tab, setTab] = useState('output')
  const tabs = [
    { id: 'output', title: 'Output' }, { id: 'files', title: 'Files' },
    ...(may('sessions') ? [{ id: 'states', title: 'State' }, { id: 'terminal', title: 'Terminal' }] : []), { id: 'settings', title: 'Settings' },
  ]
  const mark = (line: number) => { editors.get(w)?.markLine(line); editors.get(w)?.focus() }
  return (
    <section class="right panel" aria-label="What the program does">
      <Tabs label="Panels" tabs={tabs} chosen={tab} onChoose={setTab} end={tab === 'output' && w.runs.value.length > 0 ? <Button onClick={() => { w.runs.value = w.runs.value.filter((r) => !r.over) }}>Clear</Button> : undefined}>
        {tab === 'output' && <Output workspace={w} mark={mark} />}
        {tab === 'files' && <FilesPanel workspace={w} />}
        {tab === 'states' && <StatesPanel workspace={w} />}
        {tab === 'terminal' && <TerminalPanel workspace={w} />}
        {tab === 'settings' && <SettingsPanel workspace={w} />}
      </Tabs>
    </section>
  )
}

function Output({ workspace: w, mark }: { workspace: Workspace; mark: (line: number) => void }) {
  const box = useRef<HTMLDivElement>(null)
  const follows = useRef(true) // until a person scrolls up; the end of the output is then no longer kept in sight
  const top = useRef(0)
  const runs = w.runs.value
  const last = runs.at(-1)
  useLayoutEffect(() => { follows.current = true }, [runs.length])
  useLayoutEffect(() => { if (box.current && follows.current) box.current.scrollTop = box.current.scrollHeight }, [runs.length, last?.version.value])
  const scrolled = (e: { currentTarget: HTMLElement }) => {
    const { scrollTop, clientHeight, scrollHeight } = e.currentTarget
    if (scrollTop + clientHeight >= scrollHeight - 40) follows.current = true
    else if (scrollTop < top.current) follows.current = false // content that grows does not scroll up
    top.current = scrollTop
  }
  if (runs.length === 0) {
    return <Empty title="Type a program and run it">Ctrl+Enter or ⌘+Enter runs it. What it prints, shows and asks appears here as it happens. Examples are in the menu above the editor.</Empty>
  }
  return <div class="runs" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label="Output of the runs">{runs.map((r) => <RunView key={r.id} run={r} workspace={w} onLine={mark} />)}</div>
}
