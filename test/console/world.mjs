// What the tests share: a Kaa with keys, a browser, and checks of pages.
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
// A wait ends when its state is there. The limit is for a page that hangs, on a machine that does much else.
const patience = Number(process.env.KAA_PATIENCE ?? 240_000)
// SLOWNESS=20 has pages run at a twentieth of the speed: what a test expects too early shows then.
const slowness = Number(process.env.SLOWNESS ?? 1)

// Keys of the Kaa: all is for the usual scopes, as leaver is, reader has one, other is another tenant's.
export const keys = { all: 'console-all-0123456789', leaver: 'console-leaver-0123456789', reader: 'console-reader-0123456789', other: 'console-other-0123456789', admin: 'console-admin-0123456789' }

export class World {
  static async start() {
    const w = new World()
    w.folder = mkdtempSync(join(tmpdir(), 'kaa-console-'))
    w.writeKeys()
    await w.startAnywhere()
    w.browser = await chromium.launch({ executablePath: process.env.CHROMIUM, timeout: patience, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] })
    return w
  }

  // writeKeys writes the file of keys, without some; Kaa looks for changes of it.
  writeKeys(without = []) {
    const entry = (id, tenant, scopes) => ({ id, tenant, sha256: createHash('sha256').update(keys[id]).digest('hex'), ...(scopes ? { scopes } : {}) })
    const all = [
      entry('all', 'acme'), entry('leaver', 'acme'), entry('reader', 'acme', ['read']), entry('other', 'globex'), entry('admin', 'ops', ['execute', 'read', 'files', 'sessions', 'admin']),
    ].filter((e) => !without.includes(e.id))
    const file = join(this.folder, 'keys.json')
    writeFileSync(file + '.new', JSON.stringify({ keys: all }))
    renameSync(file + '.new', file)
  }

  // other calls f with a world whose Kaa is another one, with settings of its own. The browser is the same.
  async other(settings, f) {
    const w = Object.create(this)
    await w.startAnywhere(settings)
    try {
      await f(w)
    } finally {
      await w.stopKaa()
    }
  }

  // startAnywhere starts it at a free port. Another process may take that first; then it is another one.
  async startAnywhere(settings) {
    for (;;) {
      this.port = await freePort()
      this.url = `http://127.0.0.1:${this.port}/`
      try {
        await this.startKaa(settings)
        return
      } catch (err) {
        if (!/address already in use/.test(err.message)) throw err
      }
    }
  }

  // startKaa starts it at the same address each time.
  async startKaa(settings = {}) {
    let log = ''
    this.kaa = spawn(process.env.KAA_BIN, ['dev'], {
      env: { PATH: process.env.PATH, TMPDIR: tmpdir(), HOME: this.folder, KAA_PYTHON: process.env.KAA_PYTHON, KAA_ADDR: `127.0.0.1:${this.port}`, KAA_API_KEYS_FILE: join(this.folder, 'keys.json'), KAA_LOG_LEVEL: 'WARN', KAA_SANDBOX: process.env.KAA_SANDBOX ?? 'strict', ...settings },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.kaa.stderr.on('data', (d) => { log += d })
    this.ended = new Promise((done) => this.kaa.once('exit', done))
    // The keys tell it from a Kaa of somebody else that has got the port.
    const answers = (path, headers = {}) => fetch(this.url + path, { headers }).then((r) => r.ok, () => false)
    while (!(await answers('readyz') && await answers('v1/key', { Authorization: `Bearer ${keys.all}` }))) {
      if (this.kaa.exitCode !== null) throw new Error(`kaa has ended:\n${log}`)
      await new Promise((done) => setTimeout(done, 50))
    }
  }

  async stopKaa() {
    this.kaa.kill('SIGTERM')
    await this.ended
  }

  // open returns a page of a new visitor, signed in with a key unless that is empty.
  async open(key = keys.all, fragment = '', options = {}, url = this.url) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: 'dark', ...options })
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(url).origin })
    const page = await context.newPage()
    page.setDefaultTimeout(patience)
    page.complaints = []
    page.requests = []
    page.on('console', (m) => { if (m.type() === 'error' && !/status of (4|5)\d\d|Failed to load resource: net::|WebSocket connection/.test(m.text())) page.complaints.push(`${m.text()} (${m.location().url}:${m.location().lineNumber}:${m.location().columnNumber})`) })
    page.on('pageerror', (e) => page.complaints.push(String(e)))
    page.on('request', (r) => page.requests.push(r.url()))
    if (slowness > 1) await (await context.newCDPSession(page)).send('Emulation.setCPUThrottlingRate', { rate: slowness })
    if (key) await context.addInitScript(([k]) => { if (window === top) sessionStorage.setItem('kaa.key', k) }, [key])
    await page.goto(url + fragment)
    return page
  }

  // api calls the API without the browser.
  async api(method, path, body, key = keys.all) {
    const res = await fetch(this.url + path.replace(/^\//, ''), { method, headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) })
    return res.status === 204 ? null : res.json()
  }

  async stop() {
    await this.browser?.close()
    await this.stopKaa()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

// during does something and waits for a message of the page. That goes after a while, so the wait begins before.
export const during = (page, text, act) => Promise.all([page.getByText(text).first().waitFor(), act()])

export function equal(got, want, what) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`)
}

export function truth(ok, what) {
  if (!ok) throw new Error(what)
}

// screenshot keeps a picture for people.
export const screenshot = (page, name) => page.screenshot({ path: join(process.env.KAA_SCREENS, name + '.png') })

// checkAccess fails for what axe finds of serious or critical impact.
export async function checkAccess(page, what) {
  await page.evaluate(axe)
  const found = await page.evaluate(async () => {
    const result = await window.axe.run(document, { iframes: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] })
    return result.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')}`)
  })
  equal(found, [], `axe on ${what}`)
}

// checkQuiet fails for errors in the browser's console and for requests to another host.
export function checkQuiet(page, world) {
  equal(page.complaints, [], 'errors in the console of the browser')
  equal(page.requests.filter((u) => !u.startsWith(world.url) && !/^(data|blob|ws):/.test(u)), [], 'requests to another host')
}
