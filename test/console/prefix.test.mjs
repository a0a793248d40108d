// Kaa below a path of a reverse proxy, which leaves the path in requests, or takes it away.
import { createServer, request } from 'node:http'
import { connect } from 'node:net'
import { checkQuiet, equal, keys, truth } from './world.mjs'
import { ended, last, prints, run } from './steps.mjs'

// proxy serves a Kaa below a path. What is asked for beside that is not found, and is kept.
async function proxy(target, base, strip) {
  const beside = []
  const inside = (req, refuse) => {
    if (req.url !== base && !/^[/?]/.test(req.url.slice(base.length)) || !req.url.startsWith(base)) {
      if (req.url !== '/favicon.ico') beside.push(req.url)
      refuse()
      return null
    }
    const path = strip ? req.url.slice(base.length) || '/' : req.url
    return path.startsWith('/') ? path : '/' + path
  }
  const server = createServer((req, res) => {
    const path = inside(req, () => { res.statusCode = 404; res.end() })
    if (path === null) return
    const up = request({ host: target.hostname, port: target.port, path, method: req.method, headers: req.headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers)
      res.flushHeaders()
      answer.pipe(res)
    })
    up.on('error', () => res.destroy())
    res.on('close', () => up.destroy())
    req.pipe(up)
  })
  server.on('upgrade', (req, socket, head) => {
    const path = inside(req, () => socket.destroy())
    if (path === null) return
    const up = connect(target.port, target.hostname, () => {
      up.write(`${req.method} ${path} HTTP/1.1\r\n${req.rawHeaders.map((v, i) => v + (i % 2 ? '\r\n' : ': ')).join('')}\r\n`)
      up.write(head)
      up.pipe(socket).pipe(up)
    })
    for (const s of [up, socket]) s.on('error', () => { up.destroy(); socket.destroy() })
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  return { url: `http://127.0.0.1:${server.address().port}${base}`, beside, close: () => { server.close(); server.closeAllConnections() } }
}

// below uses a Kaa as a person does whose address has no slash at its end.
async function below(world, strip) {
  const p = await proxy(new URL(world.url), world.base, strip)
  const there = { ...world, url: p.url }
  const page = await world.open(keys.all, '', {}, p.url)
  try {
    await run(page, 'name = input("Who? ")\nclass H:\n    def _repr_html_(self): return "<h3>hello " + name + "</h3>"\nH()')
    await last(page).getByLabel('Input for the program: Who?').fill('Ada')
    await page.keyboard.press('Enter')
    await ended(page, 'ok')
    await page.frameLocator('iframe.framed').getByRole('heading', { name: 'hello Ada' }).waitFor()
    await page.getByRole('tab', { name: 'Settings' }).click()
    await page.getByText('once, in a fresh interpreter').click()
    await page.getByRole('tab', { name: 'Output' }).click()
    await run(page, 'print("as a job", 6 * 7)')
    await prints(page, 'as a job 42')
    await page.getByRole('link', { name: 'Jobs' }).click()
    await page.locator('.jobs tbody tr a').first().click()
    await page.getByRole('heading', { name: 'Timeline' }).waitFor()
    await page.getByRole('link', { name: 'API', exact: true }).click()
    await page.getByRole('heading', { level: 1 }).waitFor()
    truth(page.url() === p.url + '/docs', `the reference is at ${page.url()}`)
    truth((await page.content()).includes(p.url + '/process/interpreter/execute'), 'the reference has another address')
    const made = await fetch(p.url + '/v1/jobs', { method: 'POST', headers: { Authorization: `Bearer ${keys.all}`, 'Content-Type': 'application/json' }, body: '{"code": "1"}' })
    const at = new URL(made.headers.get('Location'), made.url).href
    equal((await fetch(at, { headers: { Authorization: `Bearer ${keys.all}` } })).status, 200, `the answer at ${at}`)
    equal(p.beside, [], 'requests beside the path')
    checkQuiet(page, there)
  } finally {
    await page.context().close()
    p.close()
  }
}

export async function prefix({ world }) {
  await world.other({ KAA_BASE_PATH: '/tools/kaa' }, async (w) => {
    w.base = '/tools/kaa'
    await below(w, false)
    await below(w, true)
  })
}
