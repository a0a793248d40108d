import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { urlOf } from '../api'
import { dark } from '../theme'
import { Button, icons } from '../ui/basics'
import { bytes } from '../ui/format'
import { save } from './save'
import type { Value } from './run'

const titles: Record<string, string> = {
  'image/png': 'Picture', 'image/jpeg': 'Picture', 'image/gif': 'Picture', 'image/svg+xml': 'SVG', 'text/html': 'HTML', 'text/markdown': 'Markdown', 'text/latex': 'LaTeX',
  'application/json': 'JSON', 'application/vnd.kaa.chart+json': 'Data', 'text/plain': 'Text',
}
const order = ['image/png', 'image/jpeg', 'image/gif', 'image/svg+xml', 'text/html', 'text/markdown', 'text/latex', 'application/json', 'application/vnd.kaa.chart+json', 'text/plain']
const largest = 4 << 20 // characters of a form that is shown

const isJSON = (type: string) => type === 'application/json' || type.endsWith('+json')
const rank = (type: string) => { const at = order.indexOf(type); return at < 0 ? order.length - 1.5 : at }

// Shown is a value as a notebook shows it, in the best of its forms; the others are a click away.
export function Shown({ value }: { value: Value }) {
  const forms = Object.keys(value.data).sort((a, b) => rank(a) - rank(b))
  const [chosen, setChosen] = useState('')
  const type = forms.includes(chosen) ? chosen : forms[0]
  if (!type) return null
  return (
    <div class="value">
      {forms.length > 1 && (
        <div class="forms" role="group" aria-label="Forms of the value">
          {forms.map((f) => <button key={f} type="button" aria-pressed={f === type} onClick={() => setChosen(f)}>{titles[f] ?? f}</button>)}
        </div>
      )}
      <Form type={type} data={value.data[type]} text={String(value.data['text/plain'] ?? '')} />
      {Object.entries(value.omitted ?? {}).map(([form, size]) => <p key={form} class="note">{titles[form] ?? form} of {bytes(size)} has no room in the result. A program that writes it into a file keeps it.</p>)}
      {value.truncated?.rows && <p class="note">The first {value.truncated.rows.shown} of {value.truncated.rows.total} rows are in the JSON form.</p>}
    </div>
  )
}

function Form({ type, data, text }: { type: string; data: unknown; text: string }) {
  if (typeof data === 'string' && data.length > largest) {
    return (
      <div class="note row">
        <span>{bytes(data.length)} of {titles[type] ?? type} are too much for this page.</span>
        <Button icon={icons.down} onClick={() => save(blobOf(type, data), 'value.' + (type.split('/')[1] ?? 'txt').replace(/\+.*/, ''))}>Download</Button>
      </div>
    )
  }
  if (type.startsWith('image/') && typeof data === 'string') return <Picture type={type} data={data} text={text} />
  if (type === 'text/html') return <Framed html={String(data)} />
  if (type === 'text/markdown') return <Made text={String(data)} make={fromMarkdown} />
  if (type === 'text/latex') return <Made text={String(data)} make={fromLatex} />
  if (isJSON(type)) return <div class="json"><Tree value={data} open={3} /></div>
  return <pre class="plain-text">{String(data)}</pre>
}

function blobOf(type: string, data: string): Blob {
  if (!type.startsWith('image/') || type === 'image/svg+xml') return new Blob([data], { type })
  return new Blob([Uint8Array.from(atob(data.replace(/\s/g, '')), (c) => c.charCodeAt(0))], { type })
}

// Picture shows pictures, also SVG, by an element that runs no script of them and loads nothing for them.
function Picture({ type, data, text }: { type: string; data: string; text: string }) {
  const [url, setURL] = useState('')
  const [broken, setBroken] = useState(false)
  useEffect(() => {
    let made = ''
    try {
      made = URL.createObjectURL(blobOf(type, data))
      setURL(made)
      setBroken(false)
    } catch {
      setBroken(true)
    }
    return () => URL.revokeObjectURL(made)
  }, [type, data])
  if (broken) return <p class="note">This picture ({type}, {bytes(data.length)}) cannot be shown: the browser does not understand it.</p>
  return (
    <figure class="picture">
      {url && <img src={url} alt={text.slice(0, 200) || 'A picture of the program'} onError={() => setBroken(true)} />}
      <Button icon={icons.down} onClick={() => save(blobOf(type, data), 'figure.' + type.split('/')[1]!.replace('+xml', ''))}>Download</Button>
    </figure>
  )
}

// Framed shows HTML in a document without an origin, which can reach nothing: frame.html.
export function Framed({ html }: { html: string }) {
  const frame = useRef<HTMLIFrameElement>(null)
  const [height, setHeight] = useState(40)
  const [ready, setReady] = useState(false)
  // The frame reports once that it is ready. It may do so before an effect would run that waits for the next picture of the page.
  useLayoutEffect(() => {
    const heard = (e: MessageEvent) => {
      if (!frame.current || e.source !== frame.current.contentWindow || typeof e.data !== 'object' || e.data === null) return
      if (e.data.ready === true) setReady(true)
      if (typeof e.data.height === 'number' && e.data.height >= 0) setHeight(Math.min(Math.ceil(e.data.height) + 8, 640))
    }
    addEventListener('message', heard)
    return () => removeEventListener('message', heard)
  }, [])
  const theme = dark.value ? 'dark' : 'light'
  useEffect(() => {
    // It has no origin that could be named. What is in it is the program's own.
    if (ready) frame.current?.contentWindow?.postMessage({ html, theme }, '*')
  }, [ready, html, theme])
  return <iframe ref={frame} class="framed" src={urlOf('/console/frame.html').href} sandbox="allow-scripts" title="Result of the program as HTML" style={{ height: `${height}px` }} />
}

// What makes HTML is loaded when a value needs it, and what sets formulas only for those that may have some.
const fromMarkdown = async (text: string): Promise<string> => text.includes('$') ? (await import('./math')).markdown(text) : (await import('marked')).parse(text, { gfm: true })
const fromLatex = async (text: string): Promise<string> => (await import('./math')).latex(text)

// Made shows HTML that is made of a text; the text itself until that is done, and if it fails.
function Made({ text, make }: { text: string; make: (text: string) => Promise<string> }) {
  const [html, setHTML] = useState<string | null>(null)
  useEffect(() => {
    let gone = false
    make(text).then((made) => { if (!gone) setHTML(made) }, () => { if (!gone) setHTML(null) })
    return () => { gone = true }
  }, [text, make])
  return html === null ? <pre class="plain-text">{text}</pre> : <Framed html={html} />
}

const step = 100

// Tree is JSON whose objects and lists open by a click; of a long list a part is shown at once.
export function Tree({ name, value, open }: { name?: string; value: unknown; open: number }) {
  const [shown, setShown] = useState(step)
  const [opened, setOpened] = useState(open > 0)
  const label = name === undefined ? null : <span class="json-name">{name}: </span>
  if (typeof value !== 'object' || value === null) {
    return <div class="json-leaf">{label}<span class={`json-${value === null ? 'null' : typeof value}`}>{typeof value === 'string' ? JSON.stringify(value.length > 2000 ? value.slice(0, 2000) + '…' : value) : String(value)}</span></div>
  }
  const isList = Array.isArray(value)
  const keys = isList ? value.length : Object.keys(value).length
  const entries = !opened ? [] : isList ? value.slice(0, shown).map((v, i) => [String(i), v] as const) : Object.entries(value).slice(0, shown)
  return (
    <details open={opened} onToggle={(e) => setOpened(e.currentTarget.open)}>
      <summary>{label}<span class="json-kind">{isList ? `list of ${keys}` : `object of ${keys}`}</span></summary>
      {entries.map(([k, v]) => <Tree key={k} name={k} value={v} open={keys > 20 ? 0 : open - 1} />)}
      {opened && keys > shown && <Button onClick={() => setShown(shown + step * 10)}>{`Show more of ${keys}`}</Button>}
    </details>
  )
}
