import { useEffect, useRef, useState } from 'preact/hooks'
import { socket } from '../api'
import { dark } from '../theme'
import { Button, Empty } from '../ui/basics'
import { complain } from '../ui/toast'
import type { Workspace } from './workspace'

// TerminalPanel is a shell in the session, in its sandbox and among its files. It is a command: code of the session runs beside it.
export default function TerminalPanel({ workspace: w }: { workspace: Workspace }) {
  const host = useRef<HTMLDivElement>(null)
  const [state, setState] = useState<'opening' | 'open' | 'over'>('opening')
  const [why, setWhy] = useState('')
  const [turn, setTurn] = useState(0)
  const session = w.session.value
  useEffect(() => {
    if (!session || !host.current) return
    let gone = false
    let end = () => {}
    setState('opening')
    void import('./xterm').then(({ open }) => {
      if (gone || !host.current) return
      end = open(host.current, socket(`/v1/sessions/${session}/commands/ws`), dark.value, (opened, reason) => {
        setState(opened ? 'open' : 'over')
        setWhy(reason)
      })
    }, () => { setState('over'); setWhy('The terminal could not be loaded. Reload the page.') })
    return () => {
      gone = true
      end()
    }
  }, [session, turn])
  if (!session) return <Empty title="No session yet">A terminal is in a session. <Button onClick={() => w.open().catch(complain)}>Open one</Button></Empty>
  return (
    <div class="terminal">
      <div ref={host} class="terminal-host" />
      {state === 'over' && <p class="note row" role="status"><span>{why || 'The shell has ended.'}</span><Button onClick={() => setTurn(turn + 1)}>Start another one</Button></p>}
    </div>
  )
}
