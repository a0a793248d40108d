// Completion of the names that a session has. The session is asked once for each path, until it executes something; the editor then narrows by itself.
import { post } from '../api'
import type { Workspace } from './workspace'
import source from './names.py'

const known = new WeakMap<Workspace, { runs: number; names: Map<string, Promise<string[]>> }>()

export function namesOf(w: Workspace, path: string): Promise<string[]> {
  const session = w.session.value
  if (!session || w.settings.value.mode !== 'session' || w.active) return Promise.resolve([])
  const runs = w.runs.value.length
  let cache = known.get(w)
  if (!cache || cache.runs !== runs) {
    cache = { runs, names: new Map() }
    known.set(w, cache)
  }
  let asked = cache.names.get(path)
  if (!asked) {
    const { names } = cache
    asked = ask(session, path).catch(() => {
      names.delete(path) // the next word asks again
      return []
    })
    names.set(path, asked)
  }
  return asked
}

async function ask(session: string, path: string): Promise<string[]> {
  // exec with a namespace of its own binds no name in that of the session.
  const code = `__import__("builtins").exec(${JSON.stringify(source + '\ntry: _names(path, names)\nexcept Exception: print("[]")')}, {"path": ${JSON.stringify(path)}, "names": __import__("builtins").globals()});`
  const r = await post<{ status: string; stdout: string }>('/process/interpreter/execute', { sessionId: session, code, timeout: 30 })
  if (r.status !== 'ok') throw new Error(r.status)
  const names: unknown = JSON.parse(r.stdout.trim().split('\n').at(-1) ?? '[]')
  return Array.isArray(names) ? names.filter((n): n is string => typeof n === 'string') : []
}
