// The filters of the list of jobs. They stand in the address.
import { useEffect, useRef, useState } from 'preact/hooks'
import { get, may } from '../api'
import { Field } from '../ui/basics'
import { states, statuses } from './types'

export interface Filters {
  state: string
  status: string
  queue: string
  text: string
  owner: string
  from: string
  before: string
}

const none: Filters = { state: '', status: '', queue: '', text: '', owner: '', from: '', before: '' }
export const names = Object.keys(none) as (keyof Filters)[]
export function filtersOf(q: URLSearchParams): Filters {
  const f = { ...none }
  for (const n of names) f[n] = q.get(n) ?? ''
  return f
}

// time is a time of the address as the API takes it: a time, or how long ago.
export function time(text: string): string | undefined {
  const ago = /^(\d+)([mhd])$/.exec(text)
  if (ago) return new Date(Date.now() - Number(ago[1]) * { m: 60e3, h: 3600e3, d: 86400e3 }[ago[2] as 'm' | 'h' | 'd']).toISOString()
  const at = text ? new Date(text) : null
  return at && !Number.isNaN(at.getTime()) ? at.toISOString() : undefined
}

export function FilterBar({ f, change }: { f: Filters; change: (more: Partial<Filters>) => void }) {
  const [text, setText] = useState(f.text)
  const timer = useRef(0)
  useEffect(() => { if (!timer.current) setText(f.text) }, [f.text]) // while more is being typed, the field has the newer text
  useEffect(() => () => clearTimeout(timer.current), []) // the page has been left
  const [queues, setQueues] = useState<string[]>([])
  useEffect(() => { get<{ queues: { name: string }[] }>('/v1/queues').then((q) => setQueues(q.queues.map((x) => x.name).filter((n) => n !== 'operations')), () => {}) }, [])
  const select = (label: string, name: keyof Filters, options: [string, string][]) => (
    <Field label={label}>{(a) => (
      <select {...a} value={f[name]} onChange={(e) => change({ [name]: e.currentTarget.value })}>
        {options.map(([value, title]) => <option key={value} value={value}>{title}</option>)}
      </select>
    )}</Field>
  )
  const any: [string, string] = ['', 'any']
  return (
    <form class="filters" role="search" aria-label="Filters of jobs" onSubmit={(e) => { e.preventDefault(); change({ text }) }}>
      {select('State', 'state', [any, ...states.map((s): [string, string] => [s, s])])}
      {select('Code ended', 'status', [any, ['error,exit,interrupted', 'not ok'], ...statuses.map((s): [string, string] => [s, s])])}
      {select('Queue', 'queue', [any, ...[...new Set([...queues, ...(f.queue ? [f.queue] : [])])].map((q): [string, string] => [q, q])])}
      {select('Came', 'from', [['', 'at any time'], ['15m', 'in the last 15 min'], ['1h', 'in the last hour'], ['24h', 'in the last day'], ['7d', 'in the last week'], ...(f.from && !['15m', '1h', '24h', '7d'].includes(f.from) ? [[f.from, 'since ' + f.from] as [string, string]] : [])])}
      <Field label="Came before">{(a) => <input {...a} type="datetime-local" value={f.before} onChange={(e) => change({ before: e.currentTarget.value })} />}</Field>
      <Field label="Text in metadata">{(a) => (
        <input {...a} type="search" maxLength={256} value={text} spellcheck={false} onInput={(e) => {
          const value = e.currentTarget.value
          setText(value)
          clearTimeout(timer.current)
          timer.current = window.setTimeout(() => { timer.current = 0; change({ text: value }) }, 400)
        }} />
      )}</Field>
      {may('admin') && <Field label="Tenant or key">{(a) => <input {...a} type="search" maxLength={64} placeholder="a tenant, or key:…" value={f.owner} spellcheck={false} onChange={(e) => change({ owner: e.currentTarget.value.trim() })} />}</Field>}
    </form>
  )
}
