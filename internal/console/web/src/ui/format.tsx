import { useEffect, useState } from 'preact/hooks'

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
export function bytes(n: number | undefined | null): string {
  if (n === undefined || n === null) return '–'
  let i = 0
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024
    i++
  }
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[i]}`
}

export function duration(ms: number | undefined | null): string {
  if (ms === undefined || ms === null || Number.isNaN(ms)) return '–'
  if (ms < 1) return `${ms.toFixed(2)} ms`
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  const s = ms / 1000
  if (s < 60) return `${s < 10 ? s.toFixed(2) : s.toFixed(1)} s`
  const m = Math.floor(s / 60)
  if (m < 60) return `${m} min ${Math.round(s % 60)} s`
  const h = Math.floor(m / 60)
  return h < 48 ? `${h} h ${m % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`
}

export const number = (n: number | undefined | null): string => (n === undefined || n === null ? '–' : n.toLocaleString('en'))

// useNow is the time, moved on each second: for ages.
export function useNow(every = 1000): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const t = setInterval(() => setNow(Date.now()), every)
    return () => clearInterval(t)
  }, [every])
  return now
}

// Ago is how long ago a time was; its title is the time itself.
export function Ago({ time }: { time: string | undefined | null }) {
  const now = useNow(5000)
  if (!time) return <>–</>
  const at = new Date(time)
  const s = (now - at.getTime()) / 1000
  const words = Math.abs(s) < 5 ? 'now' : s < 0 ? `in ${rough(-s)}` : `${rough(s)} ago`
  return <time dateTime={time} title={at.toLocaleString()}>{words}</time>
}

function rough(s: number): string {
  if (s < 60) return `${Math.round(s)} s`
  if (s < 3600) return `${Math.round(s / 60)} min`
  if (s < 172800) return `${Math.round(s / 3600)} h`
  return `${Math.round(s / 86400)} d`
}
