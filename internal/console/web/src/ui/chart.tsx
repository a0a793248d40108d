export interface Series {
  name: string
  points: (number | null)[]
}

const width = 600

// Chart is a small chart of values at equal distances, the last one at the right. Its label has the newest values in words.
export function Chart({ label, series, unit = '', height = 90, most }: { label: string; series: Series[]; unit?: string; height?: number; most?: number }) {
  const all = series.flatMap((s) => s.points).filter((p): p is number => p !== null)
  const top = Math.max(most ?? 0, ...all, 1e-9)
  const last = series.map((s) => `${s.name} ${round(s.points.at(-1) ?? null)}${unit}`).join(', ')
  return (
    <figure class="chart">
      <figcaption>{label}<span class="chart-top">{top > 1e-9 && `${round(top)}${unit}`}</span></figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${label}: ${last || 'no values'}`}>
        {[0.25, 0.5, 0.75].map((y) => <line key={y} x1="0" x2={width} y1={y * height} y2={y * height} class="chart-grid" />)}
        {series.map((s, n) => <path key={s.name} d={pathOf(s.points, top, height)} class={`chart-line line-${n}`} vector-effect="non-scaling-stroke" />)}
      </svg>
      <ul class="chart-names">{series.map((s, n) => <li key={s.name}><i class={`line-${n}`} aria-hidden="true" />{s.name} <b>{round(s.points.at(-1) ?? null)}{unit}</b></li>)}</ul>
    </figure>
  )
}

function round(n: number | null): string {
  if (n === null) return '–'
  return n >= 100 || Number.isInteger(n) ? Math.round(n).toLocaleString('en') : n.toPrecision(2)
}

// pathOf leaves gaps where there is no value.
function pathOf(points: (number | null)[], top: number, height: number): string {
  const step = points.length > 1 ? width / (points.length - 1) : 0
  let d = '', pen = 'M'
  points.forEach((p, i) => {
    if (p === null) {
      pen = 'M'
      return
    }
    d += `${pen}${(i * step).toFixed(1)} ${(height - 2 - p / top * (height - 6)).toFixed(1)}`
    if (pen === 'M' && (points[i + 1] ?? null) === null) d += 'h1' // a point alone would not be seen
    pen = 'L'
  })
  return d
}
