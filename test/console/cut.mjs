// A connection between the browser and Kaa that a test cuts and mends.
import { connect, createServer } from 'node:net'

export async function wire(target) {
  const { hostname, port } = new URL(target)
  const sockets = new Set()
  let whole = true
  const server = createServer((near) => {
    if (!whole) {
      near.destroy()
      return
    }
    const far = connect(Number(port), hostname)
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => { sockets.delete(one); other.destroy() })
      one.pipe(other)
    }
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const end = () => { for (const s of sockets) s.destroy() }
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    cut() { whole = false; end() },
    mend() { whole = true },
    close() { end(); server.close() },
  }
}
