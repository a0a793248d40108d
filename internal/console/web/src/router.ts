// Addresses of pages are fragments: #/jobs/01…?state=failed. So the server has one page, also below a prefix, and what stands there, such
// as a program that is shared, never leaves the browser.
import { signal } from '@preact/signals'

export interface Route {
  page: string
  rest: string[] // the parts of the path after the page
  query: URLSearchParams
}

function read(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2)
  const [page = '', ...rest] = path.split('/').map((part) => {
    try {
      return decodeURIComponent(part)
    } catch {
      return part
    }
  })
  return { page, rest, query: new URLSearchParams(query) }
}

export const route = signal<Route>(read())
addEventListener('hashchange', () => { route.value = read() })

export function href(page: string, rest: string[] = [], query: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value) q.set(name, value)
  const text = q.toString()
  return '#/' + [page, ...rest].map(encodeURIComponent).join('/') + (text ? '?' + text : '')
}

export function go(page: string, rest: string[] = [], query: Record<string, string | undefined> = {}, replace = false) {
  const to = href(page, rest, query)
  if (replace) {
    history.replaceState(null, '', to)
    route.value = read()
  } else {
    location.hash = to
  }
}
