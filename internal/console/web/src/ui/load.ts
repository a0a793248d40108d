import { useCallback, useEffect, useRef, useState } from 'preact/hooks'

export interface Loaded<T> {
  data: T | null
  error: unknown
  reload: () => void
}

// useLoad calls a function of the API, and again when deps change. With every it is repeated so many milliseconds after each answer, while
// the tab is seen; what was there stays while a repetition fails.
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, deps: unknown[], every = 0): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: unknown }>({ data: null, error: null })
  const again = useRef<() => void>(() => {})
  useEffect(() => {
    const ended = new AbortController()
    let timer = 0
    const run = async () => {
      clearTimeout(timer)
      try {
        const data = await load(ended.signal)
        if (!ended.signal.aborted) setState({ data, error: null })
      } catch (error) {
        if (!ended.signal.aborted) setState((s) => ({ data: s.data, error }))
      }
      if (every && !ended.signal.aborted) timer = window.setTimeout(next, every)
    }
    const next = () => { if (!document.hidden) void run() }
    const seen = () => { if (every) next() }
    again.current = () => { void run() }
    document.addEventListener('visibilitychange', seen)
    void run()
    return () => {
      ended.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
    }
  }, deps)
  return { ...state, reload: useCallback(() => again.current(), []) }
}
