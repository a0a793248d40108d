import { memo } from './memo'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Piece, Screen } from './ansi'
import { number } from '../ui/format'

const few = 300 // lines that are shown as they are, and wrap
const lineHeight = 20
const tall = 24 * lineHeight
const mostShown = 4000 // characters of a line

function line(pieces: Piece[]) {
  let room = mostShown
  const all = []
  for (const p of pieces) {
    const text = p.text.slice(0, room)
    room -= text.length
    all.push(p.style.cls || p.style.fg || p.style.bg
      ? <span class={p.style.cls} style={p.style.fg || p.style.bg ? { color: p.style.fg, background: p.style.bg } : undefined}>{text}</span> : text)
    if (room <= 0) {
      all.push(<em class="more-text"> … this line has more; download the output</em>)
      break
    }
  }
  return all
}

// Text is output as a terminal shows it. Of a long one only the lines in sight are elements of the page.
export function Text({ screen, stream, version }: { screen: Screen; stream: string; version: number }) {
  const lines = screen.lines
  const count = lines.length > 1 && lines.at(-1)!.length === 0 ? lines.length - 1 : lines.length
  return (
    <div class={`text ${stream}`}>
      {screen.losses().map((words) => <p key={words} class="note">{words}</p>)}
      {count <= few ? <pre>{lines.slice(0, count).map((l, i) => <div key={i}>{line(l)}{l.length === 0 && '\n'}</div>)}</pre> : <Long lines={lines} count={count} version={version} stream={stream} />}
    </div>
  )
}

function Long({ lines, count, version, stream }: { lines: Piece[][]; count: number; version: number; stream: string }) {
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const [top, setTop] = useState(0)
  useLayoutEffect(() => {
    const e = box.current
    if (e && atEnd.current) {
      e.scrollTop = e.scrollHeight
      setTop(e.scrollTop)
    }
  }, [version, count])
  const first = Math.max(0, Math.floor(top / lineHeight) - 10)
  const last = Math.min(count, Math.ceil((top + tall) / lineHeight) + 10)
  const scrolled = () => {
    const e = box.current!
    atEnd.current = e.scrollTop + e.clientHeight >= e.scrollHeight - lineHeight
    setTop(e.scrollTop)
  }
  return (
    <div class="long" ref={box} onScroll={scrolled} tabIndex={0} role="region" aria-label={`${stream}, ${number(count)} lines`}>
      <div class="long-all" style={{ height: `${count * lineHeight}px` }}>
        <pre style={{ transform: `translateY(${first * lineHeight}px)` }}>{lines.slice(first, last).map((l, i) => <div key={first + i} class="long-line">{line(l)}</div>)}</pre>
      </div>
    </div>
  )
}

export const StillText = memo(Text)
