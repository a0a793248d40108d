import { useEffect, useState } from 'preact/hooks'
import { post } from '../api'
import { Button, ErrorNote } from '../ui/basics'
import { Dialog } from '../ui/dialog'
import { number } from '../ui/format'
import { tell } from '../ui/toast'
import { time, type Filters } from './filters'
import { isFinal, states } from './types'

interface Counted { matched?: number; atLeast?: boolean; done?: number; complete?: boolean; confirm?: string }

// Many cancels or deletes all jobs that fit the filters, after it has shown how many they are.
export function Many({ what, f, onClose }: { what: 'cancel' | 'purge'; f: Filters; onClose: () => void }) {
  const body: Record<string, unknown> = {}
  if (f.queue) body.queue = f.queue
  body.state = what === 'cancel' ? states.filter((s) => !isFinal(s) && (!f.state || f.state === s)) : states.filter((s) => isFinal(s) && (!f.state || f.state === s))
  if (time(f.before)) body.createdBefore = time(f.before)
  const cannot = f.text || f.status || f.owner || f.from ? 'This takes the filters state, queue and “came before” only. Clear the others first.'
    : (body.state as string[]).length === 0 ? (what === 'cancel' ? 'Jobs in this state have ended already.' : 'Jobs in this state have not ended, so they cannot be deleted.') : ''
  const [counted, setCounted] = useState<Counted | null>(null)
  const [done, setDone] = useState<number | null>(null)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => { if (!cannot) post<Counted>(`/v1/jobs:${what}`, body).then(setCounted, setError) }, [])
  const act = async () => {
    let count = 0
    setDone(0)
    try {
      for (let confirm = counted!.confirm; confirm;) {
        const step: Counted = await post<Counted>(`/v1/jobs:${what}`, { ...body, confirm })
        count += step.done ?? 0
        setDone(count)
        confirm = step.complete ? undefined : step.confirm
      }
      tell(`${number(count)} jobs ${what === 'cancel' ? 'are being cancelled' : 'were deleted'}`)
      onClose()
    } catch (err) {
      setError(err)
    }
  }
  const words = what === 'cancel' ? 'Cancel' : 'Delete'
  return (
    <Dialog title={`${words} many jobs`} onClose={onClose}>
      {cannot ? <p>{cannot}</p> : error !== null ? <ErrorNote error={error} /> : !counted ? <p role="status">Counting…</p> : counted.matched === 0 && !counted.atLeast ? <p>No job fits.</p> : (
        <>
          <p>{counted.atLeast ? 'More than ' : ''}<b>{number(counted.matched)}</b> jobs in the state {(body.state as string[]).join(', ')}{f.queue ? ` of the queue ${f.queue}` : ''}{f.before ? ` that came before ${f.before}` : ''}.
            {what === 'purge' ? ' Their results and files are deleted for good.' : ' Those that run are interrupted.'}</p>
          {done !== null && <p role="status">{number(done)} done…</p>}
          <div class="row"><Button kind="danger" busy={done !== null} onClick={act}>{words} them</Button><Button onClick={onClose}>Leave them</Button></div>
        </>
      )}
    </Dialog>
  )
}
