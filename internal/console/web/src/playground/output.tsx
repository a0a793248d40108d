import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { may } from '../api'
import { Button, IconButton, icons, State } from '../ui/basics'
import { bytes, duration } from '../ui/format'
import { complain, copy } from '../ui/toast'
import { One } from './items'
import type { OutFile, Run } from './run'
import { contentOf, pathOf, save } from './save'
import type { Workspace } from './workspace'

// RunView is a run: what it was, what it puts out, what it asks, and how it has ended.
export function RunView({ run, workspace, onLine }: { run: Run; workspace: Workspace; onLine: (line: number) => void }) {
  run.version.value // eslint-disable-line @typescript-eslint/no-unused-expressions
  const state = run.outcome.value?.status ?? run.state.value
  return (
    <article class="run" aria-label={`Run, ${state}`}>
      <header class="run-head">
        <State value={state} />
        <code class="run-code" title={run.code.slice(0, 2000)}>{run.code.trim().split('\n')[0]}</code>
        <Figures run={run} />
        <IconButton label="Copy the output" icon={icons.copy} onClick={() => copy(run.output(), 'Output')} />
        <IconButton label="Download the output" icon={icons.down} onClick={() => save(new Blob([run.output()], { type: 'text/plain' }), 'output.txt')} />
      </header>
      <div class="run-body">
        {run.losses().map((words) => <p key={words} class="note">{words}</p>)}
        {run.items.map((item) => <One key={item.id} item={item} jobId={run.jobId} onLine={onLine} />)}
        {run.question.value && <Ask key={run.question.value.request} run={run} workspace={workspace} />}
        {run.outcome.value && run.items.length === 0 && <p class="note">No output.</p>}
      </div>
      <Files run={run} />
    </article>
  )
}

function Figures({ run }: { run: Run }) {
  const o = run.outcome.value
  if (!o || o.durationMs === undefined) return null
  return (
    <span class="figures">
      <span title="Time that the code ran">{duration(o.durationMs)}</span>
      {o.cpuMs !== undefined && <span title="Processor time">{duration(o.cpuMs)} cpu</span>}
      {o.peakMemoryBytes !== undefined && <span title="The most memory at once">{bytes(o.peakMemoryBytes)}</span>}
      {o.exitCode !== undefined && o.exitCode !== 0 && <span>exit {o.exitCode}</span>}
    </span>
  )
}

// Ask is the line on which input() waits.
function Ask({ run, workspace }: { run: Run; workspace: Workspace }) {
  const input = useRef<HTMLInputElement>(null) // it keeps its text itself: what is sent is what is seen
  useLayoutEffect(() => { input.current?.focus() }, [])
  const prompt = run.question.value?.prompt ?? ''
  return (
    <form class="ask" onSubmit={(e) => { e.preventDefault(); workspace.answer(run, input.current!.value) }}>
      <input ref={input} class="input" aria-label={`Input for the program: ${prompt.trim() || 'a line'}`} placeholder="The program waits for a line" autocomplete="off"
        onKeyDown={(e) => { if (e.ctrlKey && e.key === 'd') { e.preventDefault(); workspace.answer(run, '', true) } }} />
      <Button type="submit" kind="main">Send</Button>
      <Button onClick={() => workspace.answer(run, '', true)} title="The program sees the end of its input (Ctrl+D)">End</Button>
    </form>
  )
}

const mostPreview = 256 << 10

function Files({ run }: { run: Run }) {
  const files = run.outcome.value?.files ?? []
  if (files.length === 0) return null
  return (
    <section class="out-files" aria-label="Files that the program wrote">
      {files.map((f) => <OneFile key={f.path} file={f} path={`/v1/jobs/${run.jobId}/files/${pathOf(f.path)}`} allowed={may('files')} />)}
    </section>
  )
}

// OneFile is a file with its preview and its download.
export function OneFile({ file, path, allowed, children }: { file: OutFile; path: string; allowed: boolean; children?: ComponentChildren }) {
  const [shown, setShown] = useState<{ url?: string; text?: string } | null>(null)
  const picture = /^image\/(png|jpeg|gif|webp|svg\+xml)/.test(file.type)
  const readable = file.size <= mostPreview && (/^text\/|json|xml|javascript/.test(file.type) || picture)
  useEffect(() => () => { if (shown?.url) URL.revokeObjectURL(shown.url) }, [shown])
  const look = async () => {
    if (shown) {
      setShown(null)
      return
    }
    try {
      const content = await contentOf(path)
      setShown(picture ? { url: URL.createObjectURL(new Blob([content], { type: file.type.split(';')[0] })) } : { text: await content.text() })
    } catch (err) {
      complain(err)
    }
  }
  return (
    <div class="out-file">
      <div class="row">
        <code class="grow">{file.path}</code><span class="figures">{bytes(file.size)}</span>
        {allowed && readable && <Button onClick={look} aria-expanded={shown !== null}>{shown ? 'Hide' : 'Show'}</Button>}
        {allowed && <IconButton label={`Download ${file.path}`} icon={icons.down} onClick={() => contentOf(path).then((c) => save(c, file.path.split('/').at(-1)!), complain)} />}
        {children}
      </div>
      {shown?.url && <img src={shown.url} alt={`The file ${file.path}`} />}
      {shown?.text !== undefined && <pre class="plain-text" tabIndex={0}>{shown.text}</pre>}
    </div>
  )
}
