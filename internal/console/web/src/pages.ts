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
]

export const offered = (): Page[] => pages.filter((p) => p.needs.every(may))
