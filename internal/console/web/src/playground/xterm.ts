import './strict'
import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'

const colours = (dark: boolean) => dark
  ? { background: '#0a0e0d', foreground: '#e4ebe7', cursor: '#4cd3a0', selectionBackground: '#1f4a3b' }
  : { background: '#ffffff', foreground: '#17201c', cursor: '#0a6b49', selectionBackground: '#bfe3d3' }

// open starts a shell and shows it; it returns how to end both.
export function open(host: HTMLElement, ws: WebSocket, dark: boolean, changed: (open: boolean, why: string) => void): () => void {
  const term = new Terminal({ theme: colours(dark), fontFamily: 'ui-monospace, Menlo, "DejaVu Sans Mono", monospace', fontSize: 13, cursorBlink: true, screenReaderMode: true, scrollback: 5000 })
  const fit = new FitAddon()
  term.loadAddon(fit)
  term.open(host)
  fit.fit()
  ws.binaryType = 'arraybuffer'
  let why = ''
  const send = (data: string | ArrayBuffer | Uint8Array<ArrayBuffer>) => { if (ws.readyState === WebSocket.OPEN) ws.send(data) }
  ws.onopen = () => {
    send(JSON.stringify({ type: 'start', command: 'exec "$(command -v bash || echo sh)" -i', terminal: { columns: term.cols, rows: term.rows }, envs: { TERM: 'xterm-256color' } }))
  }
  ws.onmessage = (e) => {
    if (typeof e.data !== 'string') {
      term.write(new Uint8Array(e.data))
      return
    }
    const f = JSON.parse(e.data)
    if (f.type === 'attached') { changed(true, ''); term.focus() }
    if (f.type === 'error') why = f.detail
    if (f.type === 'exit') why = `The shell has ended${f.exitCode ? ` with code ${f.exitCode}` : ''}.`
  }
  ws.onclose = () => changed(false, why || 'The connection was cut. The shell may go on; its files stay.')
  term.onData((text) => send(new TextEncoder().encode(text)))
  term.onResize(({ cols, rows }) => send(JSON.stringify({ type: 'resize', columns: cols, rows })))
  const watch = new ResizeObserver(() => fit.fit())
  watch.observe(host)
  return () => {
    watch.disconnect()
    ws.onclose = null
    send(JSON.stringify({ type: 'signal', signal: 'HUP' }))
    ws.close()
    term.dispose()
  }
}
