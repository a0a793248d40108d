// What a job puts out, from its events: as it comes while the job runs, and all of it later. It is shown as in the playground, so nothing
// of it becomes HTML of the page.
import { useEffect, useMemo, useState } from 'preact/hooks'
import { Problem } from '../api'
import { follow } from '../events'
import { One } from '../playground/items'
import { Run } from '../playground/run'
import { Button, ErrorNote, icons } from '../ui/basics'
import { copy } from '../ui/toast'

export function JobOutput({ id, ended }: { id: string; ended: boolean }) {
  const run = useMemo(() => new Run(''), [id])
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    const ended = new AbortController()
    follow(`/v1/jobs/${encodeURIComponent(id)}/events`, (e) => run.take(e.type, e.data, e.id), '', ended.signal).catch((err) => { if (!ended.signal.aborted) setError(err) })
    return () => ended.abort()
  }, [run])
  run.version.value // eslint-disable-line @typescript-eslint/no-unused-expressions
  const expired = error instanceof Problem && (error.status === 410 || error.status === 404)
  return (
    <section class="job-output" aria-labelledby="output-title">
      <div class="row head"><h2 id="output-title" class="grow">Output</h2>
        {run.items.length > 0 && <Button icon={icons.copy} onClick={() => copy(run.output(), 'The output')}>Copy</Button>}</div>
      {error !== null && !expired && <ErrorNote error={error} />}
      {run.items.length === 0 && <p class="hint">{run.over || expired ? 'It put nothing out.' : ended && error === null ? 'The output is being loaded…' : 'Nothing was put out so far.'}</p>}
      {run.losses().map((words) => <p key={words} class="note">{words}</p>)}
      {run.items.map((item) => <One key={item.id} item={item} jobId={id} />)}
    </section>
  )
}
