import { Component, type ComponentChildren, type ComponentType } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { key, me, Problem, reachable, refused, signIn, signOut, urlOf, wordsOf } from './api'
import { offered, pages, type Page } from './pages'
import { href, route } from './router'
import { dark, nextTheme } from './theme'
import { Busy, Empty, ErrorNote, Icon, icons, IconButton } from './ui/basics'
import { SignIn } from './ui/signin'
import { Toasts } from './ui/toast'

export function App() {
  const [started, setStarted] = useState(false)
  const [failure, setFailure] = useState<unknown>(null)
  const start = () => {
    setFailure(null)
    signIn(key.value).catch((err) => {
      if (!(err instanceof Problem && err.status === 401)) setFailure(err)
    }).finally(() => setStarted(true))
  }
  useEffect(start, [])
  // The page stays below the dialog when a key ends, so that nothing that was typed is lost.
  const asks = started && refused.value !== null
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById('main')?.focus() }}>Skip to the content</a>
      <Header />
      {!reachable.value && <div class="banner" role="status">The API does not answer. This page tries again until it does; nothing that you have typed is lost.</div>}
      <main id="main" tabIndex={-1} class={asks ? 'behind' : ''}>
        {failure ? <ErrorNote error={failure} retry={start} /> : me.value ? <Outlet /> : !asks && <Busy label="Connecting" />}
      </main>
      {asks && <SignIn />}
      <Toasts />
    </>
  )
}

function Header() {
  const identity = me.value
  return (
    <header class="top">
      <a class="brand" href={href('')} aria-label="Kaa, first page">
        <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true"><rect width="32" height="32" rx="8" class="brand-box" /><path d="M22 8c-6 0-12 1-12 5s12 2 12 6-6 5-12 5" class="brand-line" /></svg>
        <span>Kaa</span>
      </a>
      <nav aria-label="Pages">
        {identity && offered().map((p) => (
          <a key={p.path} href={href(p.path)} aria-current={current().path === p.path ? 'page' : undefined}>
            <Icon path={p.icon} /><span>{p.title}</span>
          </a>
        ))}
      </nav>
      <div class="top-end">
        <a class="quiet" href={urlOf('/docs').href}>API</a>
        <IconButton label={dark.value ? 'Light colours' : 'Dark colours'} icon={dark.value ? icons.sun : icons.moon} onClick={nextTheme} />
        {identity?.required && (
          <>
            <span class="who" title={`Scopes: ${identity.scopes.join(', ')}`}>{identity.tenant || identity.id || 'signed in'}</span>
            <IconButton label="Sign out" icon={icons.out} onClick={signOut} />
          </>
        )}
      </div>
    </header>
  )
}

function current(): Page {
  const all = offered()
  return pages.find((p) => p.path === route.value.page) ?? all[0] ?? pages[0]!
}

// loaded are the modules of pages that have been opened.
const loaded = new Map<string, ComponentType>()

function Outlet() {
  const page = current()
  const [, loadedOne] = useState(0)
  const [error, setError] = useState<unknown>(null)
  const load = () => {
    setError(null)
    page.load().then((m) => { loaded.set(page.path, m.default); loadedOne((n) => n + 1) }, () => {
      setError(new Error('A part of the console could not be loaded. If Kaa was updated, reload this page.'))
    })
  }
  const allowed = offered().includes(page)
  useEffect(() => {
    document.title = `${page.title} · Kaa`
    if (allowed && !loaded.has(page.path)) load()
  }, [page.path, allowed])
  if (!allowed) {
    return <Empty title="Your key does not allow this page">It needs the scopes {page.needs.join(' and ')}. Sign in with another key, or ask the operator for one.</Empty>
  }
  const Shown = loaded.get(page.path)
  if (error) return <ErrorNote error={error} retry={() => location.reload()} action="Reload" />
  return Shown ? <Guard key={page.path}><Shown /></Guard> : <Busy label={page.title} />
}

// Guard shows a failure of a page in its place: the rest of the console goes on.
class Guard extends Component<{ children: ComponentChildren }, { error: unknown }> {
  state = { error: null as unknown }
  static getDerivedStateFromError(error: unknown) { return { error } }
  render() {
    if (this.state.error) return <ErrorNote error={new Error(`This page has failed: ${wordsOf(this.state.error)}`)} retry={() => this.setState({ error: null })} />
    return this.props.children
  }
}
