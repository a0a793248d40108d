import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { refused } from '../api'

export interface Loaded<T> {
  data: T | null
  error: unknown
  reload: () => void
}

// useLoad calls a function of the API, and again when deps change. With every it is repeated so many milliseconds after each answer, while
// the tab is seen; what was there stays while a repetition fails. every may depend on the answer; 0 ends the repetitions.
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, deps: unknown[], every: number | ((data: T) => number) = 0): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: unknown }>({ data: null, error: null })
  const again = useRef<() => void>(() => {})
  useEffect(() => {
    const ended = new AbortController()
    let timer = 0
    let asked = 0, answered = 0 // calls: an answer that is overtaken by that of a later call is an old one
    let pause = typeof every === 'number' ? every : 0
    const run = async () => {
      clearTimeout(timer)
      const own = ++asked
      let outcome: { data: T } | { error: unknown }
      try {
        outcome = { data: await load(ended.signal) }
      } catch (error) {
        outcome = { error }
      }
      if (ended.signal.aborted || own < answered) return
      answered = own
      if ('data' in outcome) {
        const { data } = outcome
        setState({ data, error: null })
        if (typeof every === 'function') pause = every(data)
      } else {
        const { error } = outcome
        setState((s) => ({ data: s.data, error }))
      }
      if (pause && own === asked) timer = window.setTimeout(next, pause)
    }
    const next = () => { if (!document.hidden && refused.peek() === null) void run() }
    const seen = () => { if (pause) next() }
    again.current = () => { void run() }
    document.addEventListener('visibilitychange', seen)
    void run()
    let asks = refused.peek() !== null
    const stop = refused.subscribe((why) => {
      if (asks && why === null) seen() // there is another key
      asks = why !== null
    })
    return () => {
      stop()
      ended.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
    }
  }, deps)
  return { ...state, reload: useCallback(() => again.current(), []) }
}
