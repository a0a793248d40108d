// The bar above the editor: what is done with a program.
import { effect } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { may } from '../api'
import { href } from '../router'
import { Button, IconButton, icons } from '../ui/basics'
import { complain, copy } from '../ui/toast'
import type { Editor } from './editor'
import { examples } from './examples'
import { lineOf } from './items'
import { packed } from './share'
import { cli, curl, python } from './snippets'
import { add, beside, chosen } from './store'
import type { Workspace } from './workspace'

// editors are those that are shown, for what marks a line from elsewhere.
export const editors = new Map<Workspace, Editor>()

export async function start(w: Workspace) {
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

export function Bar({ workspace: w, run }: { workspace: Workspace; run: () => void }) {
  const { active } = w
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
