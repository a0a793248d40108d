// The programs of the playground: which there are, which are shown, and what a reload leaves of them.
import { computed, effect, signal } from '@preact/signals'
import { go } from '../router'
import { complain, tell } from '../ui/toast'
import { examples } from './examples'
import type { Settings } from './settings'
import { unpacked } from './share'
import { Workspace, type Checkpoint, type KeptRun } from './workspace'

const stored = 'kaa.playground'

// The workspaces live as long as the tab: another page can be opened meanwhile. Programs and sessions survive a reload.
export const workspaces = signal<Workspace[]>([])
export const chosen = signal('')
export const workspace = computed(() => workspaces.value.find((w) => w.id === chosen.value) ?? workspaces.value[0]!)
// beside is the program at the side of the chosen one; empty for none.
export const beside = signal('')
export const other = computed(() => workspaces.value.find((w) => w.id === beside.value && w !== workspace.value))

// choose shows a program. The one that was at the left goes to the other side if it takes that one's place.
export function choose(w: Workspace) {
  if (w === other.value) beside.value = workspace.value.id
  chosen.value = w.id
}

export function add(w: Workspace) {
  workspaces.value = [...workspaces.value, w]
  chosen.value = w.id
}

// Kept is what a reload leaves of a workspace.
interface Kept { title: string; code: string; settings: Settings; session: string; checkpoints?: Checkpoint[]; at?: string; chosen?: boolean; runs?: KeptRun[] }

const mostRuns = 3

// runsOf are the newest runs of a workspace that Kaa knows. Reading their states has them looked at again when these change.
const runsOf = (w: Workspace): KeptRun[] => w.runs.value.filter((r) => r.state.value !== 'sending' && r.jobId).slice(-mostRuns).map((r) => ({ jobId: r.jobId, code: r.code.slice(0, 64 << 10), once: r.once }))

const keptOf = (w: Workspace): Kept => ({
  title: w.title.value, code: w.code.value.slice(0, 1 << 20), settings: w.settings.value, session: w.session.value, checkpoints: w.checkpoints.value, at: w.at.value, chosen: w === workspace.value, runs: runsOf(w),
})

export function restore() {
  try {
    for (const o of JSON.parse(sessionStorage.getItem(stored) ?? '[]') as Kept[]) {
      const w = new Workspace(o.title)
      w.code.value = o.code
      w.settings.value = o.settings
      if (o.session) {
        w.adopt(o.session)
        w.checkpoints.value = o.checkpoints ?? []
        w.at.value = o.at ?? ''
        w.connect().catch(() => {})
      }
      for (const r of o.runs ?? []) w.resume(r)
      workspaces.value = [...workspaces.value, w]
      if (o.chosen) chosen.value = w.id
    }
  } catch { /* what cannot be read is left out */ }
  if (workspaces.value.length === 0) {
    const w = new Workspace('Program 1')
    w.code.value = examples[0]!.code
    add(w)
  }
  effect(() => {
    const all = JSON.stringify(workspaces.value.map(keptOf))
    try {
      sessionStorage.setItem(stored, all)
    } catch { /* the browser keeps no more; the programs are still on the page */ }
  })
}

// openShared puts the program of a link into a workspace of its own. It is never run by itself.
export async function openShared(text: string) {
  try {
    const s = await unpacked(text)
    const w = new Workspace('Shared program')
    w.code.value = s.code
    w.settings.value = s.settings
    add(w)
    tell('This program came with the link. Read it before you run it.')
  } catch (err) {
    complain(err)
  }
  go('playground', [], {}, true)
}
