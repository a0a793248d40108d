// The pages. One more is a line here and a module whose default export is a component; docs/architecture/console.md has an example.
import type { ComponentType } from 'preact'
import { may, type Scope } from './api'

export interface Page {
  path: string
  title: string
  icon: string // a path of an icon of 24 by 24
  needs: Scope[] // without all of these the page is not offered
  load: () => Promise<{ default: ComponentType }>
}

export const pages: Page[] = [
  {
    path: 'playground', title: 'Playground', icon: 'M8 5v14l11-7z', needs: ['execute', 'read'],
    load: () => import('./playground/playground'),
  },
  {
    path: 'jobs', title: 'Jobs', icon: 'M4 5h16v3H4zm0 5.500h16v3H4zM4 16h16v3H4z', needs: ['read'],
    load: () => import('./jobs/jobs'),
  },
  {
    path: 'batches', title: 'Batches', icon: 'M4 4h7v7H4zm9 0h7v7h-7zM4 13h7v7H4zm9 0h7v7h-7z', needs: ['read'],
    load: () => import('./batches/batches'),
  },
  {
    path: 'fleet', title: 'Fleet', icon: 'M3 4h18v6H3zm0 10h18v6H3zM6 6v2h2V6zm0 10v2h2v-2z', needs: ['read'],
    load: () => import('./fleet/fleet'),
  },
]

export const offered = (): Page[] => pages.filter((p) => p.needs.every(may))
