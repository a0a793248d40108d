// What an execution puts out, piece by piece: on the playground and on the page of a job.
import { useState } from 'preact/hooks'
import { get } from '../api'
import { Button } from '../ui/basics'
import { bytes } from '../ui/format'
import { complain } from '../ui/toast'
import { memo } from './memo'
import type { Failure, Item, Value } from './run'
import { StillText } from './text'
import { Shown } from './values'

const StillValue = memo(Shown)

export function One({ item, jobId, onLine }: { item: Item; jobId: string; onLine?: (line: number) => void }) {
  switch (item.kind) {
    case 'text': return <StillText screen={item.screen} stream={item.stream} version={item.version} />
    case 'value': return <StillValue value={item.value} />
    case 'error': return <Traceback error={item.error} onLine={onLine} />
    case 'large': return <Large size={item.bytes} jobId={jobId} />
    case 'note': return <p class="note">{item.text}</p>
  }
}

// Large stands for a value that was too large to be sent while the code ran. The result of the job has it, if that had room.
function Large({ size, jobId }: { size: number; jobId: string }) {
  const [values, setValues] = useState<Value[] | null>(null)
  const [busy, setBusy] = useState(false)
  const fetchIt = async () => {
    setBusy(true)
    try {
      const j = await get<{ state: string; result?: { results?: Value[] } }>(`/v1/jobs/${jobId}`)
      if (!j.result) throw new Error('The job has no result yet: try again when it has ended.')
      // Events say of what they leave out how large it is as JSON, and no more.
      const sizes = (j.result.results ?? []).map((v) => new Blob([JSON.stringify(v)]).size)
      setValues((j.result.results ?? []).filter((_, i) => Math.abs(sizes[i]! - size) < 1000 + size / 100))
    } catch (err) {
      complain(err)
    } finally {
      setBusy(false)
    }
  }
  if (values?.length) return <>{values.map((v, i) => <StillValue key={i} value={v} />)}</>
  return (
    <div class="note row">
      <span>A value of {bytes(size)} is too large to be sent while the program runs. {values ? 'The result of the job has no room for it either. A program that writes it into a file keeps it.' : 'The result of the job has it.'}</span>
      {!values && <Button busy={busy} onClick={fetchIt}>Get the value</Button>}
    </div>
  )
}

// lineOf is the line of the program that a traceback names last. In a session each program has a file of its own, <stdin-N>; the newest is this one.
export function lineOf(error: Failure): number | null {
  let newest = -1, line: number | null = null
  for (const [, file, at] of error.traceback.matchAll(/File "(\/work\/main\.py|<stdin-\d+>)", line (\d+)/g)) {
    const n = Number(/\d+/.exec(file!.replace('/work/main.py', ''))?.[0] ?? 0)
    if (n < newest) continue
    newest = n
    line = Number(at)
  }
  return line
}

// Traceback has the error in a line, and the frames on demand.
function Traceback({ error, onLine }: { error: Failure; onLine?: (line: number) => void }) {
  const line = lineOf(error)
  return (
    <div class="traceback" role="alert">
      <p><strong>{error.name}</strong>{error.value ? `: ${error.value.slice(0, 2000)}` : ''} {line !== null && onLine && <button type="button" class="link" onClick={() => onLine(line)}>line {line}</button>}</p>
      {error.traceback && <details><summary>Traceback</summary><pre tabIndex={0}>{error.traceback.slice(0, 100_000)}</pre></details>}
    </div>
  )
}
