import { effect } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { may } from '../api'
import { route } from '../router'
import { Button, Busy, Empty, IconButton, icons } from '../ui/basics'
import { Tabs } from '../ui/tabs'
import { complain } from '../ui/toast'
import { Bar, editors, start } from './bar'
import { namesOf } from './complete'
import type { Editor } from './editor'
import { RunView } from './output'
import { FilesPanel, put, SettingsPanel, StatesPanel } from './panels'
import { add, beside, choose, chosen, openShared, other, restore, workspace, workspaces } from './store'
import TerminalPanel from './terminal'
import { Workspace } from './workspace'

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
