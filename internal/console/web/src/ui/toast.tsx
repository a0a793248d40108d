import { signal } from '@preact/signals'
import { wordsOf } from '../api'
import { IconButton, icons } from './basics'

interface Toast { id: number; text: string; bad: boolean }
const toasts = signal<Toast[]>([])
let count = 0

function add(text: string, bad: boolean) {
  const t = { id: ++count, text, bad }
  toasts.value = [...toasts.value.slice(-3), t]
  if (!bad) setTimeout(() => drop(t.id), 4000)
}
const drop = (id: number) => { toasts.value = toasts.value.filter((t) => t.id !== id) }

// tell shows a short message; complain one about an error, which stays until it is closed.
export const tell = (text: string) => add(text, false)
export const complain = (err: unknown) => add(wordsOf(err), true)

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((t) => <div key={t.id} class={`toast ${t.bad ? 'bad' : ''}`}><span>{t.text}</span><IconButton label="Close the message" icon={icons.close} onClick={() => drop(t.id)} /></div>)}
    </div>
  )
}

export async function copy(text: string, what: string) {
  try {
    await navigator.clipboard.writeText(text)
    tell(`${what} copied`)
  } catch {
    complain(new Error(`The browser does not let this page copy. ${location.protocol === 'https:' ? '' : 'Browsers allow it over https and on localhost only.'}`))
  }
}
