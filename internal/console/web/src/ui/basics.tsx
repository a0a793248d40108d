import type { ComponentChildren, JSX } from 'preact'
import { useId } from 'preact/hooks'
import { wordsOf } from '../api'

// Paths of icons of 24 by 24.
export const icons = {
  sun: 'M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10zm0-6h1v4h-2V1zm0 18h1v4h-2v-4zM1 11h4v2H1zm18 0h4v2h-4zM4.2 5.6l1.4-1.4 2.9 2.8-1.5 1.5zM15.500 17l1.500-1.500 2.800 2.900-1.400 1.400zM18.400 4.200l1.400 1.400L17 8.500 15.500 7zM7 15.500 8.500 17l-2.900 2.800-1.400-1.400z',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z',
  out: 'M10 3H4v18h6v-2H6V5h4zm5 4-1.400 1.400L16.200 11H9v2h7.200l-2.600 2.600L15 17l5-5z',
  play: 'M8 5v14l11-7z',
  stop: 'M6 6h12v12H6z',
  copy: 'M16 1H4v14h2V3h10zm4 4H8v18h12zm-2 16H10V7h8z',
  close: 'M18.300 5.700 12 12l6.300 6.300-1.400 1.400L10.600 13.400 4.300 19.700 2.900 18.300 9.200 12 2.900 5.700 4.300 4.300l6.300 6.300 6.300-6.300z',
  down: 'M5 20h14v-2H5zM19 9h-4V3H9v6H5l7 7z',
  bin: 'M6 19a2 2 0 0 0 2 2h8a2 2 0 0 0 2-2V7H6zM19 4h-3.500l-1-1h-5l-1 1H5v2h14z',
  more: 'M6 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm6 0a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm6 0a2 2 0 1 0 0 4 2 2 0 0 0 0-4z',
  refresh: 'M17.650 6.350A8 8 0 1 0 19.730 14h-2.080A6 6 0 1 1 12 6c1.660 0 3.140.69 4.220 1.780L13 11h7V4z',
  plus: 'M19 13h-6v6h-2v-6H5v-2h6V5h2v6h6z',
  terminal: 'M3 4h18v16H3zm2 4v10h14V8zm2 2 3 3-3 3-1-1 2-2-2-2zm5 5h5v1.500h-5z',
  fork: 'M7 3a3 3 0 0 0-1 5.830v6.340a3 3 0 1 0 2 0V13c2 0 8 0 8-4.170A3 3 0 1 0 14 8.800C14 11 10 11 8 11V8.830A3 3 0 0 0 7 3z',
  pin: 'M17 3H7v18l5-4 5 4z',
  share: 'M18 16a3 3 0 0 0-2 .800L8.900 12.700a3 3 0 0 0 0-1.400L16 7.200A3 3 0 1 0 15 5c0 .200 0 .500.100.700L8 9.800a3 3 0 1 0 0 4.400l7.100 4.200A3 3 0 1 0 18 16z',
}

export const Icon = ({ path }: { path: string }) => <svg class="icon" viewBox="0 0 24 24" width="18" height="18" aria-hidden="true"><path d={path} fill="currentColor" /></svg>

type ButtonProps = { kind?: 'main' | 'plain' | 'danger'; icon?: string; busy?: boolean; children?: ComponentChildren } & Omit<JSX.IntrinsicElements['button'], 'icon'>

export function Button({ kind = 'plain', icon, busy, children, class: extra, disabled, ...rest }: ButtonProps) {
  return (
    <button type="button" class={`button ${kind} ${extra ?? ''}`} disabled={disabled || busy} aria-busy={busy} {...rest}>
      {icon && <Icon path={icon} />}{children && <span>{children}</span>}
    </button>
  )
}

export function IconButton({ label, icon, onClick, disabled }: { label: string; icon: string; onClick?: (e: MouseEvent) => void; disabled?: boolean }) {
  return <button type="button" class="icon-button" aria-label={label} title={label} onClick={onClick} disabled={disabled}><Icon path={icon} /></button>
}

// Field is an input with its label, its hint and what is wrong with it. children gets the attributes that connect them.
export function Field({ label, hint, error, children }: { label: string; hint?: ComponentChildren; error?: string; children: (a: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: boolean }) => ComponentChildren }) {
  const id = useId()
  const described = error || hint ? id + 'h' : undefined
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, 'aria-describedby': described, 'aria-invalid': error ? true : undefined })}
      {(error || hint) && <p id={described} class={error ? 'wrong' : 'hint'}>{error || hint}</p>}
    </div>
  )
}

export const Busy = ({ label }: { label: string }) => <p class="busy" role="status"><span class="spinner" aria-hidden="true" />{label}…</p>

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return <section class="empty"><h2>{title}</h2>{children && <p>{children}</p>}</section>
}

// ErrorNote shows what went wrong and what can be done.
export function ErrorNote({ error, retry, action = 'Try again' }: { error: unknown; retry?: () => void; action?: string }) {
  return (
    <section class="error-note" role="alert">
      <p>{wordsOf(error)}</p>
      {retry && <Button onClick={retry}>{action}</Button>}
    </section>
  )
}

const tones: Record<string, string> = {
  completed: 'good', ok: 'good', idle: 'good', delivered: 'good', running: 'live', busy: 'live', queued: 'wait', scheduled: 'wait', retrying: 'wait', paused: 'wait',
  failed: 'bad', error: 'bad', exit: 'bad', interrupted: 'warn', cancelled: 'warn', ended: 'off',
}

// State is a state in a colour. The word says the same as the colour.
export const State = ({ value }: { value: string }) => <span class={`state ${tones[value] ?? 'off'}`}>{value}</span>
