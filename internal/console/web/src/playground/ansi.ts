// What a terminal makes of text: colours, \r, \b and the moves of progress bars, as lines of pieces. It shows control characters that do
// nothing here as pictures of themselves.

import { number } from '../ui/format'

export interface Style {
  cls: string
  fg?: string
  bg?: string
}

export interface Piece {
  text: string
  style: Style
  missing?: number // bytes that it says are missing
}

// Lost is what was put out and is not kept.
export interface Lost { lines: number; characters: number; missing: number }

export const nothing = (): Lost => ({ lines: 0, characters: 0, missing: 0 })

// lose adds lines to what is lost. What the page itself said is none of them.
function lose(lost: Lost, lines: Piece[][]) {
  for (const line of lines) {
    const said = line[0]?.style === words
    if (said) lost.missing += line[0]!.missing ?? 0
    else {
      lost.lines++
      lost.characters += charactersOf(line) + 1
    }
  }
}

export const saidOf = (lost: Lost): string[] => lost.lines === 0 ? [] : [
  `${number(lost.lines)} earlier lines (${number(lost.characters)} characters) are not kept on this page${lost.missing > 0 ? `, and ${number(lost.missing)} bytes between them came faster than they could be sent` : ''}.`,
]

const plain: Style = { cls: '' }
const words: Style = { cls: 'said' } // of the page itself
export const mostLines = 100_000
export const mostCharacters = 16 << 20
const mostColumns = 100_000
const mostPieces = 5000 // of a line; what comes after them has the look of the last one

interface Look { fg: string; bg: string; bold: boolean; dim: boolean; italic: boolean; underline: boolean; inverse: boolean; strike: boolean }
const bare: Look = { fg: '', bg: '', bold: false, dim: false, italic: false, underline: false, inverse: false, strike: false }

// eslint-disable-next-line no-control-regex
const special = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])|[\x00-\x1f\x7f]/g
// eslint-disable-next-line no-control-regex
const unfinished = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|[PX^_][^\x1b]*|[ -/]*)$/

export class Screen {
  lines: Piece[][] = [[]]
  readonly lost = nothing()
  cut = 0 // characters behind the longest line that is kept
  characters = 0 // at least those that are kept: what is written over still counts until bound looks
  private row = 0
  private col = 0
  private measured = -1 // the row of which length is known
  private length = 0
  private look: Look = { ...bare }
  private style: Style = plain
  private rest = ''

  write(text: string) {
    text = this.rest + text
    this.rest = ''
    const cut = unfinished.exec(text.slice(-512))
    if (cut) {
      this.rest = cut[0]
      text = text.slice(0, text.length - cut[0].length)
    }
    let at = 0
    special.lastIndex = 0
    for (let m; (m = special.exec(text));) {
      if (m.index > at) this.put(text.slice(at, m.index))
      at = m.index + m[0].length
      this.control(m[0])
    }
    if (at < text.length) this.put(text.slice(at))
    this.bound()
  }

  // losses says what is not kept of what was written.
  losses(): string[] {
    return [
      ...saidOf(this.lost),
      ...(this.cut > 0 ? [`${number(this.cut)} characters are not kept: a line has ${number(mostColumns)} on this page.`] : []),
    ]
  }

  // miss puts a line of the page itself between those of the program, about bytes that are missing.
  miss(missing: number) {
    this.row = this.lines.length - 1
    if (this.lengthOf(this.row) > 0) this.control('\n')
    const text = `[${number(missing)} bytes of output are missing here: they came faster than they could be sent. A program that writes into a file keeps all of it.]`
    this.lines[this.row] = [{ text, style: words, missing }]
    this.characters += text.length
    this.measured = -1
    this.control('\n')
    this.bound()
  }

  text(): string {
    return this.lines.map((line) => line.map((p) => p.text).join('')).join('\n')
  }

  // lengthOf counts a line once, and not for each piece that is put at its end.
  private lengthOf(row: number): number {
    if (this.measured !== row) {
      this.measured = row
      this.length = 0
      for (const p of this.lines[row]!) this.length += p.text.length
    }
    return this.length
  }

  private put(text: string) {
    const line = this.lines[this.row]!
    let length = this.lengthOf(this.row)
    if (length + text.length > mostColumns && this.col >= length) {
      const room = Math.max(0, mostColumns - length)
      this.cut += text.length - room
      text = text.slice(0, room)
      if (!text) return
    }
    this.characters += text.length
    if (this.col > length) {
      line.push({ text: ' '.repeat(this.col - length), style: plain })
      length = this.length = this.col
    }
    if (this.col === length) {
      const last = line.at(-1)
      if (last && (last.style === this.style || line.length >= mostPieces)) line[line.length - 1] = { text: last.text + text, style: last.style }
      else line.push({ text, style: this.style })
      this.length += text.length
    } else {
      this.lines[this.row] = [...slice(line, 0, this.col), { text, style: this.style }, ...slice(line, this.col + text.length, length)]
      this.measured = -1
    }
    this.col += text.length
  }

  private control(c: string) {
    switch (c) {
      case '\n':
        this.row++
        this.col = 0
        if (this.row === this.lines.length) this.lines.push([])
        return
      case '\r': this.col = 0; return
      case '\b': this.col = Math.max(0, this.col - 1); return
      case '\t': this.put(' '.repeat(8 - this.col % 8)); return
      case '\x07': return
    }
    if (c.length === 1) {
      this.put(c === '\x7f' ? '\u2421' : String.fromCharCode(0x2400 + c.charCodeAt(0)))
      return
    }
    if (c[1] === '[') this.sequence(c.slice(2, -1), c.at(-1)!)
  }

  private sequence(parameters: string, kind: string) {
    const n = Math.min(Math.max(1, parseInt(parameters, 10) || 1), 10_000)
    switch (kind) {
      case 'm': this.paint(parameters); return
      case 'A': this.row = Math.max(0, this.row - n); return
      case 'B': this.row = Math.min(this.lines.length - 1, this.row + n); return
      case 'C': this.col = Math.min(this.col + n, 1000); return
      case 'D': this.col = Math.max(0, this.col - n); return
      case 'F': this.row = Math.max(0, this.row - n); this.col = 0; return
      case 'G': this.col = Math.min(n - 1, 1000); return
      case 'K': {
        this.measured = -1
        const line = this.lines[this.row]!
        const what = parameters || '0'
        if (what === '0') this.lines[this.row] = slice(line, 0, this.col)
        else if (what === '2') this.lines[this.row] = []
        return
      }
      case 'J':
        this.measured = -1
        if (parameters === '2' || parameters === '3') {
          this.lines = [[]]
          this.row = this.col = 0
        } else if (!parameters || parameters === '0') {
          this.lines.length = this.row + 1
          this.lines[this.row] = slice(this.lines[this.row]!, 0, this.col)
        }
    }
  }

  private paint(parameters: string) {
    const codes = parameters.split(/[;:]/).map((p) => parseInt(p, 10) || 0)
    const l = this.look
    for (let i = 0; i < codes.length; i++) {
      const c = codes[i]!
      if (c === 0) Object.assign(l, bare)
      else if (c === 1) l.bold = true
      else if (c === 2) l.dim = true
      else if (c === 3) l.italic = true
      else if (c === 4) l.underline = true
      else if (c === 7) l.inverse = true
      else if (c === 9) l.strike = true
      else if (c === 22) l.bold = l.dim = false
      else if (c === 23) l.italic = false
      else if (c === 24) l.underline = false
      else if (c === 27) l.inverse = false
      else if (c === 29) l.strike = false
      else if (c >= 30 && c <= 37) l.fg = `c${c - 30}`
      else if (c >= 90 && c <= 97) l.fg = `c${c - 90}`
      else if (c >= 40 && c <= 47) l.bg = `c${c - 40}`
      else if (c >= 100 && c <= 107) l.bg = `c${c - 100}`
      else if (c === 39) l.fg = ''
      else if (c === 49) l.bg = ''
      else if (c === 38 || c === 48) {
        const [colour, used] = extended(codes.slice(i + 1))
        if (c === 38) l.fg = colour
        else l.bg = colour
        i += used
      }
    }
    this.style = styleOf(l)
  }

  // bound drops the oldest lines of what would take too much memory.
  private bound() {
    if (this.lines.length <= mostLines && this.characters <= mostCharacters) return
    this.characters = 0 // without what was written over or cleared
    for (const line of this.lines) this.characters += charactersOf(line)
    if (this.lines.length <= mostLines && this.characters <= mostCharacters) return
    this.drop(Math.min(this.row, Math.max(this.lines.length - Math.floor(mostLines * 0.9), Math.floor(this.lines.length / 10))))
  }

  // shed drops the oldest lines until so many characters and lines are gone.
  shed(characters: number, lines: number) {
    const ended = this.lines.at(-1)!.length === 0 ? this.lines.length - 1 : this.lines.length
    let n = 0
    for (let gone = 0; n < ended && (gone < characters || n < lines); n++) gone += charactersOf(this.lines[n]!)
    this.drop(n)
    if (this.lines.length === 0) this.lines.push([])
  }

  private drop(n: number) {
    if (n <= 0) return
    const gone = this.lines.splice(0, n)
    for (const line of gone) this.characters -= charactersOf(line)
    lose(this.lost, gone)
    this.row = Math.max(0, this.row - n)
    this.measured = -1
  }
}

function charactersOf(line: Piece[]): number {
  let count = 0
  for (const p of line) count += p.text.length
  return count
}

function slice(line: Piece[], from: number, to: number): Piece[] {
  const out: Piece[] = []
  let at = 0
  for (const p of line) {
    const begin = Math.max(from - at, 0), end = Math.min(to - at, p.text.length)
    if (begin < end) out.push({ text: p.text.slice(begin, end), style: p.style })
    at += p.text.length
  }
  return out
}

const basic = ['000000', 'cd3131', '0dbc79', 'b5a000', '2472c8', 'bc3fbc', '11a8cd', 'e5e5e5']

function extended(codes: number[]): [string, number] {
  const byte = (n: number | undefined) => Math.min(255, Math.max(0, n ?? 0))
  if (codes[0] === 2) return [`rgb(${byte(codes[1])} ${byte(codes[2])} ${byte(codes[3])})`, 4]
  if (codes[0] !== 5) return ['', 0]
  const n = byte(codes[1])
  if (n < 16) return [n < 8 && n !== 0 ? `c${n}` : `#${basic[n % 8]}`, 2]
  if (n >= 232) return [`rgb(${8 + (n - 232) * 10} ${8 + (n - 232) * 10} ${8 + (n - 232) * 10})`, 2]
  const level = (v: number) => v === 0 ? 0 : 55 + v * 40
  return [`rgb(${level(Math.floor((n - 16) / 36))} ${level(Math.floor((n - 16) / 6) % 6)} ${level((n - 16) % 6)})`, 2]
}

const styles = new Map<string, Style>()

// styleOf returns one object for each look, so that pieces of the same one can be joined.
function styleOf(l: Look): Style {
  const [fg, bg] = l.inverse ? [l.bg || 'inverse', l.fg || 'inverse'] : [l.fg, l.bg]
  const cls = [fg.startsWith('c') ? `f${fg.slice(1)}` : fg === 'inverse' ? 'f-inverse' : '', bg.startsWith('c') ? `b${bg.slice(1)}` : bg === 'inverse' ? 'b-inverse' : '',
    l.bold && 'bold', l.dim && 'dim', l.italic && 'italic', l.underline && 'under', l.strike && 'strike'].filter(Boolean).join(' ')
  const style: Style = { cls }
  if (/^[#r]/.test(fg)) style.fg = fg
  if (/^[#r]/.test(bg)) style.bg = bg
  if (!cls && !style.fg && !style.bg) return plain
  const id = `${cls}|${style.fg ?? ''}|${style.bg ?? ''}`
  const known = styles.get(id)
  if (known) return known
  if (styles.size < 10_000) styles.set(id, style)
  return style
}
